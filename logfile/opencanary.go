package logfile

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"

	"ttp-worker/ttp"
)

// canaryEvent is an event of OpenCanary, or of the Thinkst console, which
// numbers them alike.
type canaryEvent struct {
	logType int64
	data    ttp.Object // what belongs to the event, names in upper case
	when    string     // in UTC
	at      time.Time
	address string
	node    string
	port    ttp.Value // the one that was asked
}

var errNoCanaryTime = errors.New("an event without a time")

// readOpenCanary queues what an event of OpenCanary means, as its log or its
// webhook has it. Events of the program itself mean nothing.
func readOpenCanary(o ttp.Object, queue *[]Record) error {
	if inner, ok := o.Object("message"); ok && !o.Has("logtype") {
		o = inner
	}
	logType, ok := o.Int("logtype")
	if !ok {
		return errors.New("not an event of OpenCanary's log")
	}
	e := canaryEvent{logType: logType, address: o.Text("src_host"), node: o.ID("node_id"), port: get(o, "dst_port")}
	e.data, _ = o.Object("logdata")
	if !e.setTime(cmp.Or(o.Text("utc_time"), o.Text("local_time"))) {
		return errNoCanaryTime
	}
	e.records(queue)
	return nil
}

func (e *canaryEvent) setTime(text string) bool {
	var ok bool
	e.at, ok = parseTime(text)
	e.when = e.at.Format("2006-01-02T15:04:05.000000") + "Z"
	return ok
}

// logins are the events that try a name and a password.
var logins = map[int64]string{
	2000: "ftp", 3001: "http", 4002: "ssh", 6001: "telnet", 7001: "http-proxy", 8001: "mysql", 9001: "mssql", 9002: "mssql",
	12001: "vnc", 14001: "rdp",
}

// probes are the events that are neither a login nor a request nor a command.
var probes = map[int64]string{
	2001: "ftp", 4000: "ssh", 4001: "ssh", 5000: "smb", 5001: "scan", 5002: "scan", 5003: "scan", 5004: "scan", 5005: "scan", 6002: "telnet",
	9003: "mssql", 10001: "tftp", 11001: "ntp", 13001: "snmp", 15001: "sip", 16001: "git", 18001: "tcp", 18002: "tcp", 18003: "tcp",
	18004: "tcp", 18005: "tcp", 19001: "llmnr", 20001: "mongodb",
}

const redisCommand = 17001

func (e *canaryEvent) records(queue *[]Record) {
	if e.logType >= 3000 && e.logType <= 3003 {
		*queue = append(*queue, e.request())
	}
	if service, ok := logins[e.logType]; ok {
		*queue = append(*queue, e.login(service))
	} else if service, ok := probes[e.logType]; ok {
		*queue = append(*queue, e.probe(service))
	}
	if e.logType == redisCommand {
		*queue = append(*queue, e.command())
	}
}

// text returns the first of the named members that is there, as text: values
// are strings or numbers, depending on the service.
func (e *canaryEvent) text(names ...string) string {
	for _, name := range names {
		if s, ok := get(e.data, name).Scalar(); ok && s != "" {
			return s
		}
	}
	return ""
}

func (e *canaryEvent) head(service string) members {
	m := members{make(ttp.Object, 0, 16)}
	m.text("attacker_ip", e.address)
	m.text("decky_id", e.node)
	m.text("service", service)
	m.text("ts", e.when)
	return m
}

// login makes a login, which no decoy of OpenCanary lets in.
func (e *canaryEvent) login(service string) Record {
	m := e.head(service)
	m.text("username", e.text("USERNAME", "UserName", "username"))
	m.text("password", e.text("PASSWORD", "Password", "password", "VNC Password"))
	m.text("result", "failure")
	return made("attacker.auth", e.at, m.Object)
}

func (e *canaryEvent) request() Record {
	method := e.text("METHOD", "REQUEST_METHOD")
	if method == "" {
		method = "GET"
		if e.logType == 3001 {
			method = "POST"
		}
	}
	path := e.text("PATH")
	m := e.head("http")
	m.text("method", method)
	m.text("raw_url", path)
	plain, _, _ := strings.Cut(path, "?")
	m.text("request_path", plain)
	m.text("user_agent", e.text("USERAGENT"))
	m.text("host", e.text("HOSTNAME"))
	return made("attacker.http", e.at, m.Object)
}

func (e *canaryEvent) command() Record {
	m := e.head("redis")
	text := e.text("CMD")
	if args := e.text("ARGS"); args != "" {
		text += " " + args
	}
	m.text("command_text", cmp.Or(text, "?"))
	return made("attacker.command", e.at, m.Object)
}

// probe makes a session of one event.
func (e *canaryEvent) probe(service string) Record {
	m := e.head(service)
	m.number("log_type", int(e.logType))
	m.value("dst_port", e.port)
	switch service {
	case "scan":
		m.value("port_scan", ttp.Bool(true))
	case "tftp":
		m.text("tftp_filename", e.text("FILENAME"))
	case "smb":
		m.text("file_name", e.text("FILENAME"))
	case "git":
		m.text("repository", e.text("REPO"))
	}
	// Without an id of its own it would be one with everything else that the
	// attacker did.
	port, _ := e.port.Scalar()
	sum := sha256.Sum256([]byte(strings.Join([]string{e.address, e.node, e.when[:19], strconv.FormatInt(e.logType, 10), port}, "\x1f")))
	m.text("source_id", hex.EncodeToString(sum[:16]))
	return made("attacker.observed", e.at, m.Object)
}
