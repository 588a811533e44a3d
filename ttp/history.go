package ttp

import "errors"

// Job is a replay as its row in the database tells of it.
type Job struct {
	ID    string // names what is replayed, by content
	Owner string // who works on it, "" if nobody does
	Beat  int64  // grows as long as its owner lives
	State string // how far it has come, as its owner writes it; "" at the beginning
}

// ErrNoHistory says that a database does not keep the history that is asked
// for: it lacks the table or a column of it.
var ErrNoHistory = errors.New("the database keeps no such history; a DECNET master's does")

// LoginCounts are what an attacker tried at one service of one decoy.
type LoginCounts struct {
	Failed    int64            // attempts that did not succeed
	Passwords map[string]int64 // different ones, by the key of the name they were tried for
}
