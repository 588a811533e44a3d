package tagger

import (
	"path"
	"strings"

	"ttp-worker/ttp"
)

// TokenClass returns what kind of thing a canary token was planted as, from
// what the hit or the token's row says of it (token_type, token_kind,
// generator, instrumenter, placement_path): "credentials", "exploit",
// "program", "clone", "login", "database", "cloud" or "document", which is also
// what a token counts as of which nothing is known. It is "test" for the ping
// that a canary server sends when it is set up.
func TokenClass(payload ttp.Object) string {
	if payload.Text("token") == "a+test+token" {
		return "test"
	}
	if class, ok := tokenTypes[strings.ToLower(payload.Text("token_type"))]; ok {
		return class
	}
	for _, name := range []string{"token_type", "token_kind", "generator", "instrumenter"} {
		if containsAny(strings.ToLower(clip(payload.Text(name), 256)), secretWords) {
			return credentials
		}
	}
	if secretPath(payload.Text("placement_path")) {
		return credentials
	}
	return "document"
}

const credentials = "credentials"

// tokenTypes are the types of canarytokens.org that are neither documents nor
// told by their names.
var tokenTypes = map[string]string{
	"azure_id":       credentials,
	"crowdstrike_cc": credentials,
	"slack_api":      credentials,
	"wireguard":      credentials,
	"log4shell":      "exploit",
	"cmd":            "program",
	"signed_exe":     "program",
	"clonedsite":     "clone",
	"cssclonedsite":  "clone",
	"idp_app":        "login",
	"sql_server":     "database",
	"my_sql":         "database",
	"aws_infra":      "cloud",
}

// secretWords are parts of the names that generators of false credentials have.
var secretWords = []string{
	"aws", "azure", "gcp", "gcloud", "dotenv", "env_file", "env-file", "ssh", "id_rsa", "id_ed25519", "kube",
	"git_config", "git-config", "gitconfig", "git_credentials", "git-credentials", "pgpass", "my_cnf", "mycnf", "netrc",
	"npmrc", "pypirc", "docker_config", "dockercfg", "htpasswd", "wp_config", "wp-config", "vault", "keepass", "password",
	"passwd", "credential", "creds", "secret", "api_key", "api-key", "apikey", "access_key", "private_key", "db_config",
}

// secretFiles are the base names, and secretEndings the ends of paths, that
// credentials are kept under.
var (
	secretFiles = []string{
		".env", ".envrc", ".git-credentials", ".pgpass", ".my.cnf", ".netrc", ".npmrc", ".pypirc", ".dockercfg",
		".vault-token", ".htpasswd", ".s3cfg", ".boto", "wp-config.php", "configuration.php", "local_settings.py",
		"database.yml", "secrets.yml", "secrets.yaml", "terraform.tfstate", "kubeconfig", "admin.conf", "shadow",
		"accesstokens.json", "application_default_credentials.json", "service-account.json", "unattend.xml",
	}
	secretEndings = []string{
		".aws/config", ".azure/config", ".kube/config", ".git/config", ".docker/config.json", ".pem", ".key", ".ppk",
		".kdbx", ".tfvars", ".ovpn", ".p12", ".pfx", ".jks",
	}
	secretParts = []string{"credential", "password", "passwd", "secret", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "apikey", "api_key"}
)

func secretPath(placed string) bool {
	placed = strings.ReplaceAll(strings.ToLower(clip(placed, 4096)), `\`, "/")
	base := path.Base(placed)
	for _, name := range secretFiles {
		if base == name || strings.HasPrefix(base, name+".") || base == name+"~" {
			return true
		}
	}
	for _, end := range secretEndings {
		if strings.HasSuffix(placed, end) {
			return true
		}
	}
	return containsAny(base, secretParts)
}

func containsAny(s string, parts []string) bool {
	for _, part := range parts {
		if strings.Contains(s, part) {
			return true
		}
	}
	return false
}
