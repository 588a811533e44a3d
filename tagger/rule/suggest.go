package rule

import "fmt"

// Suggest returns `, did you mean "x"?` for the name that word was likely
// meant to be, "" if there is none.
func Suggest(word string, names []string) string { return suggest(word, names) }

// Suggest says that no rule in use is called id, and which one may be meant;
// "" if there is one.
func (s *Set) Suggest(id string) string {
	var ids []string
	for i := range s.infos {
		if s.infos[i].ID == id && s.infos[i].Status != Refused {
			return ""
		}
		ids = append(ids, s.infos[i].ID)
	}
	return fmt.Sprintf("no rule here is called %.128q%s", id, suggest(id, ids))
}
