package ttp

import "errors"

// permanent marks an error that trying again cannot cure.
type permanent struct{ err error }

func (p *permanent) Error() string { return p.err.Error() }
func (p *permanent) Unwrap() error { return p.err }

// Permanent marks err as one that trying again cannot cure: the input does not
// parse, the row itself is refused. Everything that is not marked is taken to
// be transient, so mark only what is proven. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanent{err}
}

// IsPermanent reports whether trying again cannot cure err. Of an error made
// with [errors.Join] every part must be permanent: one transient part and a
// retry may still help.
func IsPermanent(err error) bool {
	for err != nil {
		switch e := err.(type) { //nolint:errorlint // the walk itself unwraps, joined parts apart
		case *permanent:
			return true
		case interface{ Unwrap() []error }:
			return allPermanent(e.Unwrap())
		}
		err = errors.Unwrap(err)
	}
	return false
}

func allPermanent(errs []error) bool {
	for _, err := range errs {
		if !IsPermanent(err) {
			return false
		}
	}
	return len(errs) > 0
}
