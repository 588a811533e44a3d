package tagger

import "strings"

// systems is a set of operating systems.
type systems uint8

const (
	windows systems = 1 << iota
	macOS
	iPhone
	iPad
	android
	linux // and ChromeOS, the BSDs: what X11 runs on

	apple  = macOS | iPhone | iPad
	mobile = iPhone | iPad | android
)

// named pairs a part of a name, in lower case, with what it stands for.
type named struct {
	part string
	is   systems
}

// first returns what the first part found in text stands for, or 0.
func first(table []named, text string) systems {
	text = strings.ToLower(clip(text, 1024))
	for _, n := range table {
		if strings.Contains(text, n.part) {
			return n.is
		}
	}
	return 0
}

// agents are the systems that user agents name. Windows phones named Android
// and the iPhone besides, Android names Linux, the iPhone "like Mac OS X".
var agents = []named{
	{"windows", windows},
	{"iphone", iPhone},
	{"ipod", iPhone},
	{"ipad", iPad},
	{"android", android},
	{"macintosh", macOS},
	{"mac os x", macOS},
	{"cros ", linux},
	{"x11", linux},
	{"linux", linux},
}

// agentSystem returns the system that a user agent claims, 0 if it names none.
func agentSystem(userAgent string) systems { return first(agents, userAgent) }

// platforms are the values of navigator.platform and the user agents that go
// with them. Android phones say "Linux armv81", an iPad may say MacIntel, and
// "request desktop site" makes a phone's user agent that of Linux or a Mac.
var platforms = []named{
	{"iphone", iPhone | macOS},
	{"ipod", iPhone | macOS},
	{"ipad", iPad | macOS},
	{"mac", macOS | iPad},
	{"win32", windows},
	{"win64", windows},
	{"windows", windows},
	{"android", android | linux},
	{"linux", linux | android},
	{"bsd", linux},
	{"x11", linux},
}

func platformSystems(platform string) systems { return first(platforms, platform) }

// renderers are the systems that a WebGL renderer can be found on. The
// programs that draw without a graphics card are what browsers on servers use:
// they run on X11, and no phone or Mac is sold without a card. A Windows
// desktop without one uses WARP ("Basic Render").
var renderers = []named{
	{"direct3d", windows},
	{"d3d11", windows},
	{"d3d9", windows},
	{"basic render", windows},
	{"llvmpipe", linux},
	{"softpipe", linux},
	{"swiftshader", linux},
	{"mesa", linux | android},
	{"nouveau", linux},
	{"virgl", linux},
	{"svga3d", linux},
	{"apple", apple},
	{"metal", apple},
	{"powervr", mobile | linux},
	{"adreno", android | linux},
	{"mali-", android | linux},
	{"immortalis", android | linux},
	{"xclipse", android | linux},
	{"maleoon", android | linux},
	{"tegra", android | linux},
	{"videocore", android | linux},
	{"geforce", windows | macOS | linux},
	{"quadro", windows | macOS | linux},
	{"nvidia", windows | macOS | linux},
	{"radeon", windows | macOS | linux},
	{"intel", windows | macOS | linux},
}

// rendererSystems returns the systems a WebGL renderer can be found on, 0 if
// its name does not tell.
func rendererSystems(renderer string) systems { return first(renderers, renderer) }

// headlessNames are what browsers without a window call themselves.
var headlessNames = []string{"headless", "phantomjs", "slimerjs", "splash/", "puppeteer", "playwright", "selenium"}

func headlessAgent(userAgent string) bool {
	userAgent = strings.ToLower(clip(userAgent, 1024))
	return containsAny(userAgent, headlessNames)
}

// homes are the countries in which a language is official or spoken by many:
// only languages that few speak elsewhere. English is at home everywhere, as
// it is what software comes in.
var homes = map[string]string{
	"en": "",
	"ru": "RU BY KZ KG UA MD AM AZ GE TJ UZ TM EE LV LT IL",
	"uk": "UA PL MD CZ",
	"zh": "CN TW HK MO SG MY",
	"ja": "JP",
	"ko": "KR KP",
	"vi": "VN",
	"th": "TH",
	"id": "ID",
	"fa": "IR AF TJ",
	"tr": "TR CY DE BG",
	"he": "IL",
	"hi": "IN FJ NP",
	"pl": "PL",
	"cs": "CZ SK",
	"hu": "HU RO SK RS",
	"ro": "RO MD",
	"bg": "BG",
	"pt": "PT BR AO MZ CV GW ST TL MO LU CH",
	"de": "DE AT CH LI LU BE IT",
	"it": "IT CH SM VA",
	"nl": "NL BE SR AW CW SX",
}

// languageHome returns the countries where the language of a tag ("pt-BR") is
// at home, "" for everywhere; ok is false if that is not known.
func languageHome(tag string) (countries string, ok bool) {
	language, _, _ := strings.Cut(strings.ToLower(clip(tag, 35)), "-")
	countries, ok = homes[language]
	return countries, ok
}
