# Everything a person or CI does with this tree. `make` alone lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Debian keeps servers in sbin, which is not on the path of ordinary users.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)

# -count=1: a result from the cache says nothing about the servers of today.
TESTFLAGS ?= -count=1
FUZZTIME  ?= 10s
BENCH     ?= .
ROWS      ?= 200000
EVENTS    ?= 100000
ROUNDS    ?= 1
ONLY      ?=
DATA      ?= ../shared/data

DESTDIR ?=
prefix  ?= /usr
unitdir ?= $(prefix)/lib/systemd/system
confdir ?= /etc/ttp-worker

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: build
build: ## the static binary, bin/ttp-worker
	@CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/ttp-worker ./cmd/ttp-worker

.PHONY: demo
demo: build ## the main job on bundled real sessions: bus, tags, table, bus
	@bin/ttp-worker demo

.PHONY: test
test: deps lint ## what CI runs: linters, then all tests under the race detector
	@go -C tools test ./...
	scripts/tidy.sh go test -race -timeout 12m $(TESTFLAGS) ./...

.PHONY: quick
quick: deps ## all tests without linters and race detector, unchanged ones from the cache
	go test -timeout 5m ./...

.PHONY: deps
deps: ## install what the tests need and this machine lacks
	@scripts/test-deps.sh

.PHONY: lint
lint: .tools/stamp ## gofumpt, go vet, staticcheck, our analyzers, misspell
	@scripts/lint.sh

.PHONY: fmt
fmt: .tools/stamp ## format all Go files
	@.tools/gofumpt -w .

.PHONY: bench
bench: ## all benchmarks, or BENCH=regexp
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

.PHONY: bench-e2e
bench-e2e: ## the worker between real servers, against a bare loop: EVENTS (100000), ROUNDS (1), ONLY=regexp, PROFILES=DIR
	@go run ./internal/bench -events $(EVENTS) -rounds $(ROUNDS) -only '$(ONLY)' $(if $(PROFILES),-profiles '$(abspath $(PROFILES))')

.PHONY: bench-scale
bench-scale: ## the same with 10 million tags in the table, messages in the stream, 1 million attackers: EVENTS, ONLY; 20 GB, 20 minutes
	@go run ./internal/bench -scale -events $(EVENTS) -rounds $(ROUNDS) -only '$(ONLY)'

.PHONY: bench-replay
bench-replay: ## a dry run of SIZE (1G) of every kind of input through a pipe: rate and peak memory; ONLY=regexp
	go test ./cmd/ttp-worker -run '^$$' -bench 'ReplayStdin/$(or $(ONLY),.)' -benchtime 1x -timeout 6h -replay.size $$(numfmt --from=iec $(or $(SIZE),1G))

.PHONY: bench-rollup
bench-rollup: ## the reads on ROWS tags (200,000), 100,000 of them one identity's; KEEP=DIR keeps the databases
	go test ./sink -run '^$$' -bench 'Rollups/$(ONLY)' -benchtime 20x -timeout 3h -rollup.rows $(ROWS) $(if $(KEEP),-rollup.keep $(abspath $(KEEP)))

.PHONY: page-check
page-check: .tools/npm/stamp ## the page in headless Chromium, installed if missing; SHOTS=DIR keeps screenshots
	@command -v chromium >/dev/null || { apt-get update -q && apt-get install -q -y --no-install-recommends chromium; } >/dev/null
	@$(if $(SHOTS),mkdir -p $(abspath $(SHOTS)))
	go test -count=1 -tags browser ./api -run inABrowser $(if $(SHOTS),-shots $(abspath $(SHOTS)))

.PHONY: stix-check
stix-check: .tools/npm/stamp ## STIX bundles against MITRE's ATT&CK data model (npm, node)
	go test -count=1 -tags npm ./stix -run MITRE

.PHONY: chaos
chaos: deps ## every fault that is known, against real servers: SEED=, DURATION=, ONLY=regexp
	@go run ./internal/chaos/cmd -seed '$(or $(SEED),0)' -duration '$(or $(DURATION),0s)' -only '$(ONLY)'

.PHONY: soak
soak: deps ## two workers under load and small faults for DURATION (10m): memory, goroutines, files, unacked, outbox stay flat
	@go run ./internal/chaos/cmd -soak -seed '$(or $(SEED),0)' -duration '$(or $(DURATION),10m)'

.PHONY: fuzz
fuzz: ## every fuzz test for FUZZTIME (10s)
	@scripts/fuzz.sh $(FUZZTIME)

.PHONY: precision
precision: ## score the rules on labelled data (DATA=../shared/data): a table and the worst ten of each kind
	@go run ./internal/precision -data '$(DATA)'

.PHONY: licenses
licenses: ## dist/THIRD_PARTY_LICENSES, to go with the binary
	@mkdir -p dist
	@scripts/licenses.sh >dist/THIRD_PARTY_LICENSES

.PHONY: sbom
sbom: build ## dist/sbom.cdx.json: what the program was linked from (CycloneDX)
	@mkdir -p dist
	@go -C tools run ./sbom $(CURDIR)/bin/ttp-worker >dist/sbom.cdx.json

.PHONY: repro
repro: ## build twice, in two places, and compare
	@scripts/repro.sh

.PHONY: gosec
gosec: ## look for dangerous code
	@scripts/gosec.sh

.PHONY: govulncheck
govulncheck: ## compare the modules with Go's vulnerability database (needs the internet)
	@scripts/govulncheck.sh

.PHONY: deploy-check
deploy-check: ## alert rules and units by their own tools, the dashboard on a real Prometheus
	@scripts/need.sh promtool:prometheus systemd-analyze:systemd
	@cd deploy/prometheus && promtool check rules alerts.yaml && promtool test rules alerts_test.yaml
	@systemd-analyze security --offline=true --threshold=15 --no-pager deploy/systemd/ttp-worker.service | tail -1
	go test -count=1 -tags prometheus ./cmd/ttp-worker -run onPrometheus

.PHONY: install
install: ## what make build made, units, manual, completion and a first configuration, under DESTDIR
	@test -x bin/ttp-worker || { echo "nothing to install; run: make build" >&2; exit 1; }
	install -D -m 0755 bin/ttp-worker $(DESTDIR)$(prefix)/bin/ttp-worker
	install -d $(DESTDIR)$(unitdir)
	for unit in deploy/systemd/*.service deploy/systemd/*.timer; do \
		sed 's|/usr/bin/ttp-worker|$(prefix)/bin/ttp-worker|' "$$unit" >"$(DESTDIR)$(unitdir)/$${unit##*/}"; done
	install -d $(DESTDIR)$(prefix)/share/{doc/ttp-worker,man/man1,bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d}
	install -m 0644 docs/*.md $(DESTDIR)$(prefix)/share/doc/ttp-worker/
	cp -r deploy/nats deploy/mysql deploy/prometheus deploy/grafana $(DESTDIR)$(prefix)/share/doc/ttp-worker/
	bin/ttp-worker man | gzip -9n >$(DESTDIR)$(prefix)/share/man/man1/ttp-worker.1.gz
	bin/ttp-worker completion bash >$(DESTDIR)$(prefix)/share/bash-completion/completions/ttp-worker
	bin/ttp-worker completion zsh >$(DESTDIR)$(prefix)/share/zsh/vendor-completions/_ttp-worker
	bin/ttp-worker completion fish >$(DESTDIR)$(prefix)/share/fish/vendor_completions.d/ttp-worker.fish
	install -d -m 0700 $(DESTDIR)$(confdir)/credentials
	test -e $(DESTDIR)$(confdir)/config.yaml || \
		install -D -m 0644 deploy/systemd/config.yaml $(DESTDIR)$(confdir)/config.yaml

.PHONY: deb
deb: build ## dist/ttp-worker_VERSION_ARCH.deb
	@scripts/deb.sh '$(VERSION)'

.PHONY: package-check
package-check: ## install, upgrade under load, hang and purge the package in a booted Debian (root, systemd-nspawn)
	@scripts/need.sh systemd-nspawn:systemd-container dpkg-deb:dpkg curl:curl
	@rm -rf dist/check && mkdir -p dist/check
	@$(MAKE) --no-print-directory build VERSION=0.1.0 && scripts/deb.sh 0.1.0 >/dev/null && mv dist/ttp-worker_0.1.0_*.deb dist/check/old.deb
	@$(MAKE) --no-print-directory build VERSION=0.2.0 && scripts/deb.sh 0.2.0 >/dev/null && mv dist/ttp-worker_0.2.0_*.deb dist/check/new.deb
	@scripts/package-check.sh dist/check/old.deb dist/check/new.deb

.PHONY: compose-check
compose-check: ## run both compose files with Docker, of local stand-ins for the images (root; half an hour the first time)
	@scripts/compose-check.sh

.PHONY: clean
clean: ## remove what the targets above made in this tree
	rm -rf bin dist .tools

.tools/stamp: tools/go.mod tools/go.sum $(wildcard tools/lint/*.go)
	@echo "building the linters of tools/go.mod (about half a minute, once)"
	@go -C tools build -o $(CURDIR)/.tools/ tool ./lint
	@touch $@

.tools/npm/stamp: $(wildcard scripts/npm/*)
	@command -v npm >/dev/null || { apt-get update -q && apt-get install -q -y --no-install-recommends npm; } >/dev/null
	@mkdir -p $(@D) && cp scripts/npm/* $(@D)
	@npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund >/dev/null
	@touch $@
