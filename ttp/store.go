package ttp

import "time"

// Announcement is a [Tagged] whose tags are stored and that is still to be
// published. ID is the same for the same tags, so that publishing it twice
// under that message id announces it once.
type Announcement struct {
	ID     string
	Outbox string // the row of the outbox that holds it, with others of its batch
	Tagged
}

// AnnouncementIDs returns the ids of list, in its order.
func AnnouncementIDs(list []Announcement) []string {
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].ID
	}
	return ids
}

// Written is what became of a batch.
type Written struct {
	Fresh      []Announcement // what each arrived event gained; those that gained nothing are left out
	Inserted   int            // tags that were not there before
	Duplicates int            // tags that were there already, or twice in the batch
	Refused    []Refusal      // tags the database does not take; all others are stored
}

// Refusal is a tag that the database does not take, alone and for a reason of
// its own.
type Refusal struct {
	Arrived int // index into the batch that was written
	Tag     Tag

	// Orphan says that the row which the tag is anchored on does not exist
	// (yet): the same write may succeed later. Otherwise it never will.
	Orphan bool

	Code int // the server's error number, 0 if the worker itself found the fault
	Err  error
}

// Attacker is what the database knows about an address.
type Attacker struct {
	UUID         string
	Address      string
	IdentityUUID string    // "" if it has not been resolved to an identity
	Country      string    // ISO 3166 alpha-2, "" if the database does not say
	FirstSeen    time.Time // of one that is to be created, as is LastSeen
	LastSeen     time.Time
}

// CanaryTrigger is the stored row of one canary hit.
type CanaryTrigger struct {
	UUID      string
	TokenUUID string
	SrcIP     string
	Headers   Object // raw_headers: request headers and the "_fp…" members
}

// Spraying is the password that an identity tried with the most accounts.
type Spraying struct {
	SecretHash string
	Accounts   int
}
