# What each target does stands in the README. Each works alone, from a clean clone.
GO       ?= go
FUZZTIME ?= 30s
ROUNDS   ?= 5
SEED     ?= 1
HOURS    ?= 1
HOMES    ?= 2
PKGS     := ./...
# The first Python that is 3.12 or newer, pyenv's among them; or one that is not there.
PYTHON312 = $(or $(shell for p in python3 python3.14 python3.13 python3.12 $$HOME/.pyenv/versions/3.1[2-9]*/bin/python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && echo $$p && break; done),python3.12)

.PHONY: all build demo test check fuzz interop bench chaos chaos-simulation chaos-processes cut cost vuln clean

all: build

build:
	$(GO) build -o bin/ ./commissioner/cmd/...

demo: build
	$(GO) run ./commissioner/cmd/gatehouse-demo bin

test:
	$(GO) test $(PKGS)

check:
	@test -z "$$(gofmt -l cluster commissioner fabric firmware radio)" || { gofmt -l cluster commissioner fabric firmware radio; echo 'run gofmt -w on these'; exit 1; }
	$(GO) vet $(PKGS)
	$(GO) vet -tags interop $(PKGS)
	$(GO) tool staticcheck $(PKGS)
	$(GO) test -race $(PKGS)

# Every fuzz target in turn, for FUZZTIME each, on both cores. That its time is over is at times told as a failure of the target; then there is no input that fails.
fuzz:
	@set -e; for pkg in $$($(GO) list $(PKGS)); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$target"; \
	    out=$$($(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg 2>&1) || \
	      { echo "$$out" | grep -q 'context deadline exceeded' && ! echo "$$out" | grep -q 'Failing input' && out='ended with its time'; } || { echo "$$out"; exit 1; }; \
	    echo "$$out" | tail -n 3; \
	  done; \
	done

interop:
	cd commissioner/interop && npm ci --no-audit --no-fund
	cd commissioner/interop/ble && npm ci --no-audit --no-fund
	cd commissioner/interop/browser && npm ci --no-audit --no-fund
	cd commissioner/interop/bumble && python3 -m venv venv && venv/bin/pip install -q --no-deps --require-hashes -r requirements.txt || \
	  echo 'bumble cannot be installed here: the test with it is skipped'
	@for peer in homeassistant bleproxy; do \
	  ( cd commissioner/interop/$$peer && $(PYTHON312) -m venv venv && venv/bin/pip install -q --no-deps --require-hashes -r requirements.txt ) || \
	    echo "$$peer cannot be installed here, it wants Python 3.12: the tests with it are skipped"; \
	done
	$(GO) test -tags interop -count=1 -v -timeout 80m ./commissioner/interop ./firmware/manifest

bench:
	cd commissioner/interop && npm ci --no-audit --no-fund
	cd commissioner/interop/ble && npm ci --no-audit --no-fund
	$(GO) run ./commissioner/interop/bench
	$(GO) test -run '^$$' -bench 'Events|Devices|First|Frames|Password' ./commissioner/portal/...

# Homes of three gateways while everything around them breaks, from ROUNDS seeds: in simulated time, and as real processes.
chaos: chaos-simulation chaos-processes

# For HOURS of simulated time each. Their disks are in memory.
chaos-simulation:
	@dir=$$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	TMPDIR=$$dir $(GO) test -count=1 -v -timeout 0 -run TestSimulation ./cluster/chaos -seed $(SEED) -rounds $(ROUNDS) -hours $(HOURS)

# In network namespaces, HOMES of them with faults at the same time.
chaos-processes:
	$(GO) test -tags interop -count=1 -v -timeout 0 -run TestProcesses ./commissioner/interop/chaos -seed $(SEED) -rounds $(ROUNDS) -homes $(HOMES)

# The power cut at every system call of 500 commands, and of a follower's life.
cut:
	$(GO) test -count=1 -v -timeout 10m -run 'TestPowerCuts' ./cluster -cut.commands 500 -cut.every 1 -cut.seed $(SEED)
	$(GO) test -count=1 -v -timeout 10m -run 'TestCuts' ./cluster/store -cut.every 1 -cut.seed $(SEED)

# What a gateway writes to its disk, and its memory and start with many devices.
cost: build
	$(GO) test -count=1 -v -timeout 30m ./cluster/cost -cost -cost.bin "$(CURDIR)/bin/gatehouse"

# Known vulnerabilities, where the database can be reached.
vuln:
	$(GO) tool govulncheck $(PKGS)

clean:
	rm -rf bin
