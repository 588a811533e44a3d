package tagger

import (
	"slices"
	"strings"

	"ttp-worker/ttp"
)

// abuseCategories are the techniques that AbuseIPDB's categories stand for
// (https://www.abuseipdb.com/categories). 4 (DDoS), 10 (web spam) and 12 (blog
// spam) are left out because no technique of an intruder is meant.
var abuseCategories = map[int64][]string{
	5:  {"T1110"},          // FTP brute force
	7:  {"T1566"},          // phishing
	9:  {"T1090"},          // open proxy
	11: {"T1496"},          // e-mail spam; see surePhishing
	13: {"T1090"},          // VPN address
	14: {"T1046", "T1595"}, // port scan
	15: {"T1190"},          // hacking
	16: {"T1190"},          // SQL injection
	17: {"T1566"},          // e-mail spoofing
	18: {"T1110"},          // brute force
	19: {"T1595"},          // bad web bot
	20: {"T1078"},          // exploited host
	21: {"T1190"},          // web application attack
	22: {"T1110"},          // SSH
	23: {"T1190"},          // attack on an IoT device
}

// spam is the category that is phishing, too, from a score of surePhishing.
const (
	spam         = 11
	surePhishing = 80
)

// greynoiseTags and the following are the techniques that the signals of the
// other providers stand for.
var greynoiseTags = map[string][]string{
	"tor_exit_node":   {"T1090"},
	"ssh_bruteforcer": {"T1110"},
	"web_crawler":     {"T1595"},
	"cobalt_strike":   {"T1071", "T1588"},
	"metasploit":      {"T1071", "T1588"},
	"sliver":          {"T1071", "T1588"},
	"havoc":           {"T1071", "T1588"},
}

var feodoTechniques = []string{"T1071", "T1588"}

var threatTypes = map[string][]string{
	"botnet_cc":        {"T1071", "T1588"},
	"payload_delivery": {"T1105", "T1588"},
	"payload":          {"T1588"},
	"cc_skimming":      {"T1056"},
}

// bareMalicious is how much "malicious" without a tag counts for T1071.
const bareMalicious = 0.5

// maxSignals bounds how many elements of a provider's list are looked at, and
// maxReports how many single reports.
const (
	maxSignals = 64
	maxReports = 1000
)

// readAnswers returns the answers of the providers that say anything.
func readAnswers(p ttp.Object) []answer {
	var answers []answer
	for _, read := range []func(ttp.Object) answer{abuseAnswer, greynoiseAnswer, feodoAnswer, threatfoxAnswer} {
		if a := read(p); len(a.decisions) > 0 {
			answers = append(answers, a)
		}
	}
	return answers
}

func abuseAnswer(p ttp.Object) answer {
	a := answer{name: "abuseipdb_techniques"}
	raw, _ := p.Get("abuseipdb_score")
	score, ok := raw.Float()
	if !ok {
		return a
	}
	score = min(max(score, 0), 100)
	hits := newHits[int64]()
	for _, category := range abuseReported(p) {
		hits.add(category, abuseCategories[category])
		if category == spam && score >= surePhishing {
			hits.add(category, []string{"T1566"})
		}
	}
	for _, technique := range hits.order {
		a.decisions = append(a.decisions, decision{technique, score / 100, ttp.Object{
			{Name: "abuseipdb_categories", Value: numbers(hits.by[technique])},
			{Name: "abuseipdb_score", Value: raw},
			{Name: "abuse_confidence_score", Value: ttp.Number(int64(score))},
		}})
	}
	return a
}

// abuseReported returns the categories of the answer, else those of the single
// reports that came with it, each once.
func abuseReported(p ttp.Object) []int64 {
	for _, name := range []string{"abuseipdb_categories", "categories"} {
		if list, _ := p.List(name); len(list) > 0 {
			return ints(nil, list)
		}
	}
	raw, _ := p.Object("abuseipdb_raw")
	if data, ok := raw.Object("data"); ok {
		raw = data
	}
	reports, _ := raw.List("reports")
	var categories []int64
	for _, r := range reports[:min(len(reports), maxReports)] {
		report, _ := r.Object()
		list, _ := report.List("categories")
		categories = ints(categories, list)
	}
	slices.Sort(categories)
	return slices.Compact(categories)
}

func ints(dst []int64, list []ttp.Value) []int64 {
	for _, v := range list[:min(len(list), maxSignals)] {
		if n, ok := v.Int(); ok {
			dst = append(dst, n)
		}
	}
	return dst
}

func numbers(list []int64) ttp.Value {
	var b strings.Builder
	for i, n := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(string(ttp.Number(n)))
	}
	return ttp.Value("[" + b.String() + "]")
}

func greynoiseAnswer(p ttp.Object) answer {
	classification := strings.ToLower(p.Text("greynoise_classification"))
	hits := newHits[string]()
	for _, tag := range texts(p, "greynoise_tags") {
		hits.add(tag, greynoiseTags[strings.NewReplacer(" ", "_", "-", "_").Replace(strings.ToLower(tag))])
	}
	if classification == "scanner" {
		hits.add(classification, []string{"T1595"})
	}
	weak := ""
	if _, hit := hits.by["T1071"]; classification == "malicious" && !hit {
		weak = "T1071"
		hits.add(classification, []string{weak})
	}
	a := answer{name: "greynoise_techniques"}
	for _, technique := range hits.order {
		weight := 1.0
		if technique == weak {
			weight = bareMalicious
		}
		evidence := append(pick(p, "greynoise_classification"), ttp.Member{Name: "greynoise_tags", Value: ttp.Strings(hits.by[technique])})
		a.decisions = append(a.decisions, decision{technique, weight, append(evidence, pick(p, "greynoise_name")...)})
	}
	return a
}

func feodoAnswer(p ttp.Object) answer {
	a := answer{name: "feodo_techniques"}
	if listed, _ := p.Bool("feodo_listed"); !listed {
		return a
	}
	evidence := append(ttp.Object{{Name: "feodo_listed", Value: "true"}}, pick(p, "feodo_malware_family", "first_seen_feodo")...)
	if family := p.Text("feodo_malware_family", "malware_family"); family != "" {
		evidence = append(evidence, ttp.Member{Name: "malware_family", Value: ttp.Quote(clip(family, 128))})
	}
	for _, technique := range feodoTechniques {
		a.decisions = append(a.decisions, decision{technique, 1, evidence})
	}
	return a
}

func threatfoxAnswer(p ttp.Object) answer {
	hits := newHits[string]()
	types := texts(p, "threatfox_threat_types")
	if len(types) == 0 {
		types = append(texts(p, "threat_type"), p.Text("threat_type"))
	}
	for _, t := range types {
		hits.add(t, threatTypes[strings.ToLower(t)])
	}
	a := answer{name: "threatfox_techniques"}
	for _, technique := range hits.order {
		evidence := append(pick(p, "threatfox_threat_types", "threatfox_ioc_types", "threatfox_malware_families"),
			ttp.Member{Name: "threat_types", Value: ttp.Strings(hits.by[technique])})
		for _, m := range [][2]string{{"malware_families", "threatfox_malware_families"}, {"ioc_types", "threatfox_ioc_types"}} {
			if list := texts(p, m[1]); len(list) > 0 {
				evidence = append(evidence, ttp.Member{Name: m[0], Value: ttp.Strings(list)})
			}
		}
		a.decisions = append(a.decisions, decision{technique, 1, evidence})
	}
	return a
}

// texts returns the strings of a list, at most maxSignals.
func texts(p ttp.Object, name string) []string {
	list, _ := p.List(name)
	var found []string
	for _, v := range list[:min(len(list), maxSignals)] {
		if s, ok := v.Text(); ok && s != "" {
			found = append(found, clip(s, 64))
		}
	}
	return found
}

// hits collects which signals stand for which technique.
type hits[T any] struct {
	order []string // the techniques, as they were first hit
	by    map[string][]T
}

func newHits[T any]() *hits[T] { return &hits[T]{by: make(map[string][]T)} }

func (h *hits[T]) add(signal T, techniques []string) {
	for _, t := range techniques {
		if _, known := h.by[t]; !known {
			h.order = append(h.order, t)
		}
		h.by[t] = append(h.by[t], signal)
	}
}
