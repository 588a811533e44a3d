package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
)

// settings collects the options of a command. Each is a flag, an environment
// variable TTP_<FLAG> and a key of the --config file, in this order of rank.
// All values are texts until they are read together, so that everything that
// is wrong is said at once.
type settings struct {
	cmd     *cobra.Command
	options []option
}

type option struct {
	name string
	many bool
	set  func(values []string) error
}

// newSettings gives cmd the --config flag and reads the options before it works.
func newSettings(cmd *cobra.Command, work func(cmd *cobra.Command) error) *settings {
	s := &settings{cmd: cmd}
	cmd.Flags().String("config", "", "YAML file with the options as keys")
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

// given reports whether the option was set at all.
func (s *settings) given(name string) bool {
	_, inEnv := os.LookupEnv(envName(name))
	return s.cmd.Flags().Changed(name) || inEnv
}

func envName(name string) string { return "TTP_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }

func (s *settings) read() error {
	path, _ := s.cmd.Flags().GetString("config")
	if path == "" {
		path = os.Getenv("TTP_CONFIG")
	}
	fromFile := koanf.New("\x00")
	var errs []error
	if path != "" {
		if err := fromFile.Load(file.Provider(path), yaml.Parser()); err != nil {
			return fmt.Errorf("config file %s: %w", path, err)
		}
		errs = s.unknownKeys(path, fromFile)
	}
	for _, o := range s.options {
		values, origin := s.values(o, fromFile)
		for i, v := range values {
			resolved, err := secret(v)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", origin, err))
			}
			values[i] = resolved
		}
		if err := o.set(values); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", origin, err))
		}
	}
	return errors.Join(errs...)
}

// values returns what was given for an option and where.
func (s *settings) values(o option, fromFile *koanf.Koanf) (values []string, origin string) {
	flags := s.cmd.Flags()
	env, inEnv := os.LookupEnv(envName(o.name))
	switch {
	case flags.Changed(o.name):
		origin = "--" + o.name
	case inEnv && o.many:
		return strings.Split(env, ","), envName(o.name)
	case inEnv:
		return []string{env}, envName(o.name)
	case fromFile.Exists(o.name) && o.many && len(fromFile.Strings(o.name)) > 0:
		return fromFile.Strings(o.name), o.name + " in the config file"
	case fromFile.Exists(o.name):
		return []string{fromFile.String(o.name)}, o.name + " in the config file"
	}
	if origin == "" {
		origin = "--" + o.name
	}
	if o.many {
		values, _ = flags.GetStringArray(o.name)
		return values, origin
	}
	v, _ := flags.GetString(o.name)
	return []string{v}, origin
}

func (s *settings) unknownKeys(path string, fromFile *koanf.Koanf) (errs []error) {
	for _, key := range fromFile.Keys() {
		if !slices.ContainsFunc(s.options, func(o option) bool { return o.name == key }) {
			errs = append(errs, fmt.Errorf("config file %s: unknown key %q", path, key))
		}
	}
	return errs
}

// secret reads values that say where they are: file:PATH, or cred:NAME for a
// credential that systemd has handed over.
func secret(value string) (string, error) {
	path, isFile := strings.CutPrefix(value, "file:")
	if name, ok := strings.CutPrefix(value, "cred:"); ok {
		path, isFile = os.Getenv("CREDENTIALS_DIRECTORY")+"/"+name, true
	}
	if !isFile {
		return value, nil
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
