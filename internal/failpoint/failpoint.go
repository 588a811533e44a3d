// Package failpoint lets a test program end or stop the worker at an exact
// place on the way of a batch. A program built without the tag "failpoint" has
// none of it: [Hit] is empty, and [Setup] refuses to start with the variable set.
package failpoint

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Variable is the environment variable that says what happens where, such as
// "after-commit=kill@3": at the third time that place is reached. The actions
// are kill, which is SIGKILL to oneself, and stop, which is SIGSTOP.
const Variable = "TTP_FAILPOINT"

// Point is a place on the way of a batch.
type Point string

// The places, in the order in which a batch passes them.
const (
	AfterTag     Point = "after-tag"     // tagged and anchored, no transaction yet
	AfterBegin   Point = "after-begin"   // the transaction is open
	AfterInsert  Point = "after-insert"  // the tags are inserted
	AfterOutbox  Point = "after-outbox"  // so are their announcements
	AfterCommit  Point = "after-commit"  // both are stored
	AfterPublish Point = "after-publish" // the bus has the announcements
	AfterDelete  Point = "after-delete"  // the outbox is empty again
	AfterAck     Point = "after-ack"     // the messages are acknowledged
)

// Points are all places in their order.
func Points() []Point {
	return []Point{AfterTag, AfterBegin, AfterInsert, AfterOutbox, AfterCommit, AfterPublish, AfterDelete, AfterAck}
}

// Setup reads [Variable] and must be called before the first [Hit]. An error
// means that the program must not run: the variable is set and cannot be obeyed.
func Setup() error {
	text := os.Getenv(Variable)
	if text == "" {
		return nil
	}
	if !Enabled {
		return errors.New(Variable + " is set, and this program has no fail-points: unset it, or build with -tags failpoint to test")
	}
	o, err := parse(text)
	if err != nil {
		return fmt.Errorf("%s: %w", Variable, err)
	}
	arm(o)
	return nil
}

// order is what happens where and when.
type order struct {
	point  Point
	action string // "kill" or "stop"
	nth    int64
}

func parse(text string) (order, error) {
	point, what, _ := strings.Cut(text, "=")
	action, nth, _ := strings.Cut(what, "@")
	n, err := strconv.ParseInt(nth, 10, 64)
	o := order{Point(point), action, n}
	if err != nil || n < 1 || action != "kill" && action != "stop" || !slices.Contains(Points(), o.point) {
		return order{}, fmt.Errorf("want PLACE=kill@N or PLACE=stop@N, PLACE being one of %v", Points())
	}
	return o, nil
}
