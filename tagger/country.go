package tagger

import (
	"math"
	"time"
	_ "time/tzdata" // the host may have none, and every replica must say the same
)

// clocks are how far the clocks of a country are ahead of UTC, in hours from
// its west to its east and over the year; overseas parts with a code of their
// own are left out.
var clocks = map[string][2]float64{
	"AR": {-3, -3}, "AT": {1, 2}, "AU": {8, 11}, "BD": {6, 6}, "BE": {1, 2}, "BG": {2, 3}, "BO": {-4, -4},
	"BR": {-5, -2}, "BY": {3, 3}, "CA": {-8, -2.5}, "CH": {1, 2}, "CL": {-6, -3}, "CN": {8, 8}, "CO": {-5, -5},
	"CZ": {1, 2}, "DE": {1, 2}, "DK": {1, 2}, "DZ": {1, 1}, "EC": {-6, -5}, "EE": {2, 3}, "EG": {2, 3}, "ES": {0, 2},
	"FI": {2, 3}, "FR": {1, 2}, "GB": {0, 1}, "GE": {4, 4}, "GR": {2, 3}, "HK": {8, 8}, "HR": {1, 2}, "HU": {1, 2},
	"ID": {7, 9}, "IE": {0, 1}, "IL": {2, 3}, "IN": {5.5, 5.5}, "IQ": {3, 3}, "IR": {3.5, 4.5}, "IT": {1, 2},
	"JP": {9, 9}, "KE": {3, 3}, "KR": {9, 9}, "KZ": {5, 6}, "LT": {2, 3}, "LV": {2, 3}, "MA": {0, 1}, "MD": {2, 3},
	"MX": {-8, -5}, "MY": {8, 8}, "NG": {1, 1}, "NL": {1, 2}, "NO": {1, 2}, "NZ": {12, 13.75}, "PA": {-5, -5},
	"PE": {-5, -5}, "PH": {8, 8}, "PK": {5, 5}, "PL": {1, 2}, "PT": {-1, 1}, "RO": {2, 3}, "RS": {1, 2}, "RU": {2, 12},
	"SA": {3, 3}, "SC": {4, 4}, "SE": {1, 2}, "SG": {8, 8}, "SK": {1, 2}, "TH": {7, 7}, "TR": {3, 3}, "TW": {8, 8},
	"UA": {2, 3}, "US": {-10, -4}, "UZ": {5, 5}, "VE": {-4, -4}, "VN": {7, 7}, "ZA": {2, 2},
}

// zonesApart returns how many whole hours the clocks of a time zone
// ("Europe/Paris") and of a country are apart at that time; ok is false if
// either is not known.
func zonesApart(zone, country string, at time.Time) (hours int64, ok bool) {
	clock, known := clocks[country]
	// These two names are those of the host this runs on.
	if !known || zone == "" || zone == "Local" || len(zone) > 64 {
		return 0, false
	}
	location, err := time.LoadLocation(zone)
	if err != nil {
		return 0, false
	}
	_, seconds := at.In(location).Zone()
	offset := float64(seconds) / 3600
	if clock[0] <= offset && offset <= clock[1] {
		return 0, true
	}
	return int64(math.Floor(min(roundTheGlobe(offset-clock[0]), roundTheGlobe(offset-clock[1])))), true
}

// roundTheGlobe returns the shorter way between two clocks, in hours.
func roundTheGlobe(apart float64) float64 {
	apart = math.Abs(apart)
	return min(apart, 24-apart)
}
