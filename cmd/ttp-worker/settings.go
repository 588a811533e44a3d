package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// settings collects the options of a command. Each is a flag, an environment
// variable TTP_<FLAG> and a key of the --config file, in this order of rank.
// All values are texts until they are read together, so that everything that
// is wrong is said at once.
type settings struct {
	cmd     *cobra.Command
	options []option
	ignored []string          // keys of the file that are other commands' options
	given   map[string]origin // by option; those with their default are not in it
}

type option struct {
	name   string
	many   bool
	file   bool                      // the value is the name of a file; file: and cred: name it, too
	masked func(value string) string // hides what is secret in it; nil if nothing is
	set    func(values []string) error
}

// origin is where a value comes from, and what stands there: for one that
// names a file, the name.
type origin struct {
	where  string
	values []string
}

// configFlag names the file; it can't be a key in it.
const configFlag = "config"

// newSettings gives cmd the --config flag and reads the options before it works.
func newSettings(cmd *cobra.Command, work func(cmd *cobra.Command) error) *settings {
	s := &settings{cmd: cmd}
	cmd.Flags().String(configFlag, "", "YAML file with the options as keys")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := s.read(); err != nil {
			return usageError{err}
		}
		return work(cmd)
	}
	return s
}

func (s *settings) text(target *string, name, value, usage string, check func(string) error) {
	s.cmd.Flags().String(name, value, usage)
	s.options = append(s.options, option{name: name, set: func(values []string) error {
		*target = values[0]
		if check == nil {
			return nil
		}
		return check(values[0])
	}})
}

// address is a text with a password in it.
func (s *settings) address(target *string, name, value, usage string) {
	s.text(target, name, value, usage, nil)
	s.options[len(s.options)-1].masked = maskURLs
}

// file is a text that names a file, which must be there, or is empty.
func (s *settings) file(target *string, name, usage string) {
	s.text(target, name, "", usage, func(path string) error {
		if path == "" {
			return nil
		}
		_, err := os.Stat(path)
		return err
	})
	s.options[len(s.options)-1].file = true
}

// token is the option of a text that is a secret as a whole.
func (s *settings) token(target *string, name, usage string) {
	s.text(target, name, "", usage, notShort)
	s.options[len(s.options)-1].masked = maskWhole
}

func (s *settings) texts(target *[]string, name string, value []string, usage string) {
	s.cmd.Flags().StringArray(name, value, usage)
	s.options = append(s.options, option{name: name, many: true, set: func(values []string) error {
		*target = values
		return nil
	}})
}

func (s *settings) flag(target *bool, name string, value bool, usage string) {
	*target = value
	s.cmd.Flags().String(name, strconv.FormatBool(value), usage)
	s.cmd.Flags().Lookup(name).NoOptDefVal = "true"
	s.options = append(s.options, option{name: name, set: func(values []string) (err error) {
		if *target, err = strconv.ParseBool(values[0]); err != nil {
			return errors.New("want true or false")
		}
		return nil
	}})
}

func (s *settings) number(target *int, name string, value, lowest int, usage string) {
	s.cmd.Flags().String(name, strconv.Itoa(value), usage)
	s.options = append(s.options, option{name: name, set: func(values []string) (err error) {
		if *target, err = strconv.Atoi(values[0]); err != nil || *target < lowest {
			return fmt.Errorf("want a whole number, %d or more", lowest)
		}
		return nil
	}})
}

func (s *settings) duration(target *time.Duration, name string, value time.Duration, usage string) {
	s.cmd.Flags().String(name, value.String(), usage)
	s.options = append(s.options, option{name: name, set: func(values []string) (err error) {
		if *target, err = time.ParseDuration(values[0]); err != nil || *target <= 0 {
			return errors.New("want a duration such as 250ms, 30s or 10m")
		}
		return nil
	}})
}

// isGiven reports whether the option was set at all, anywhere.
func (s *settings) isGiven(name string) bool {
	_, ok := s.given[name]
	return ok
}

func envName(name string) string { return "TTP_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }

// read sets every option. It can be called again, to see what has changed in
// the files.
func (s *settings) read() error {
	path := s.path()
	fromFile := koanf.New("\x00")
	var errs []error
	if path != "" {
		if err := fromFile.Load(file.Provider(path), yaml.Parser()); err != nil {
			return fmt.Errorf("config file %s: %w", path, err)
		}
		errs = s.unknownKeys(path, fromFile)
	}
	errs = append(errs, s.unknownVariables(os.Environ())...)
	s.given = make(map[string]origin)
	for _, o := range s.options {
		values, where := s.values(o, path, fromFile)
		if where != "" {
			s.given[o.name] = origin{where, slices.Clone(values)}
		}
		if err := o.apply(values); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", orFlag(where, o.name), err))
		}
	}
	return errors.Join(errs...)
}

// path is the configuration file, empty for none.
func (s *settings) path() string {
	if path, _ := s.cmd.Flags().GetString(configFlag); path != "" {
		return path
	}
	return os.Getenv(envName(configFlag))
}

func orFlag(where, name string) string {
	if where == "" {
		return "--" + name
	}
	return where
}

// apply resolves the values and sets the option.
func (o option) apply(values []string) error {
	var errs []error
	for i, v := range values {
		resolved, err := resolve(v)
		if o.file {
			resolved, err = resolvePath(v)
		}
		if err != nil {
			errs = append(errs, err)
		}
		values[i] = resolved
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return o.set(values)
}

// values returns what was given for an option and where; where is empty for
// the default.
func (s *settings) values(o option, path string, fromFile *koanf.Koanf) (values []string, where string) {
	flags := s.cmd.Flags()
	env, inEnv := os.LookupEnv(envName(o.name))
	inFile := o.name + " in " + path
	switch {
	case flags.Changed(o.name):
		where = "--" + o.name
	case inEnv && o.many:
		return strings.Split(env, ","), envName(o.name)
	case inEnv:
		return []string{env}, envName(o.name)
	case fromFile.Exists(o.name) && o.many && len(fromFile.Strings(o.name)) > 0:
		return fromFile.Strings(o.name), inFile
	case fromFile.Exists(o.name):
		return []string{fromFile.String(o.name)}, inFile
	}
	if o.many {
		values, _ = flags.GetStringArray(o.name)
		return values, where
	}
	v, _ := flags.GetString(o.name)
	return []string{v}, where
}

// unknownKeys complains about the keys that are no option of any command.
// Those of another command are fine: one file may serve several.
func (s *settings) unknownKeys(path string, fromFile *koanf.Koanf) (errs []error) {
	known := optionsOf(s.cmd.Root())
	s.ignored = nil
	for _, key := range fromFile.Keys() {
		switch {
		case slices.ContainsFunc(s.options, func(o option) bool { return o.name == key }):
		case known[key]:
			s.ignored = append(s.ignored, key)
		default:
			name := strings.ReplaceAll(key, "\x00", ".")
			errs = append(errs, fmt.Errorf("config file %s: unknown key %q%s", path, name, didYouMean(name, slices.Collect(maps.Keys(known)))))
		}
	}
	return errs
}

// notOurs begin variables that have nothing to do with options.
var notOurs = []string{"TTP_TEST_", "TTP_FAILPOINT"}

// unknownVariables complains about variables TTP_… that no command reads: a
// misspelled one would be passed over in silence.
func (s *settings) unknownVariables(environ []string) (errs []error) {
	known := map[string]bool{envName(configFlag): true}
	for name := range optionsOf(s.cmd.Root()) {
		known[envName(name)] = true
	}
	for _, line := range environ {
		name, _, _ := strings.Cut(line, "=")
		ours := strings.HasPrefix(name, "TTP_") && !slices.ContainsFunc(notOurs, func(p string) bool { return strings.HasPrefix(name, p) })
		if ours && !known[name] {
			errs = append(errs, fmt.Errorf("environment: unknown variable %s%s", name, didYouMean(name, slices.Collect(maps.Keys(known)))))
		}
	}
	return errs
}

// optionsOf returns the names of all flags of cmd and the commands below.
func optionsOf(cmd *cobra.Command) map[string]bool {
	names := make(map[string]bool)
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name != configFlag && f.Name != "help" && f.Name != "version" {
			names[f.Name] = true
		}
	})
	for _, c := range cmd.Commands() {
		maps.Copy(names, optionsOf(c))
	}
	return names
}

// resolve reads values that say where they are: file:PATH, or cred:NAME for a
// credential that systemd has handed over.
func resolve(value string) (string, error) {
	if _, ok := secretFile(value); !ok {
		return value, nil
	}
	path, err := resolvePath(value)
	if err != nil {
		return "", err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if text := strings.TrimSpace(string(data)); text != "" {
		return text, nil
	}
	return "", fmt.Errorf("%s is empty", path)
}

// resolvePath returns the file that a value names.
func resolvePath(value string) (string, error) {
	path, ok := secretFile(value)
	if ok && path == "" {
		return "", fmt.Errorf("%s: no credentials directory; systemd makes one for a service with LoadCredential=, elsewhere use file:PATH", value)
	}
	return cmp.Or(path, value), nil
}

// secretFile returns the file that a file: or cred: value names; a credential
// outside of a service has none.
func secretFile(value string) (path string, ok bool) {
	if path, ok := strings.CutPrefix(value, "file:"); ok {
		return path, true
	}
	name, ok := strings.CutPrefix(value, "cred:")
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if !ok || dir == "" {
		return "", ok
	}
	return dir + "/" + name, true
}
