.DEFAULT_GOAL := help
.PHONY: help build deb test race check fmt format vet lint deadcode tidy fuzz bench sim lab demo

TOOL     := go tool -modfile=tools/go.mod
FUZZTIME ?= 20s
BIN      ?= bin
DIST     ?= dist

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/tlsink, a static binary
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o $(BIN)/tlsink ./cmd/tlsink

deb: build ## pack it as a Debian package, in dist/ (VERSION=1.2.3 if git knows none)
	go run ./packaging/deb -binary $(BIN)/tlsink -version "$(VERSION)" -o $(DIST)

test: ## run all tests that need neither root nor network
	go test ./...

race: ## the same under the race detector, in random order
	go test -race -shuffle=on ./...

check: fmt vet lint deadcode tidy race ## everything a change must pass

fmt: ## fail if a file is not formatted
	@files=$$($(TOOL) gofumpt -l .); test -z "$$files" || { echo "not formatted (make format):"; echo "$$files"; exit 1; }

format: ## format all files in place
	$(TOOL) golangci-lint fmt

vet: ## run go vet
	go vet ./...

lint: ## run golangci-lint (the first run builds it, which takes minutes)
	$(TOOL) golangci-lint run

deadcode: ## fail if a function is reachable neither from main nor from a test
	@dead=$$($(TOOL) deadcode -test ./...) || exit 1; test -z "$$dead" || { echo "$$dead"; exit 1; }

tidy: ## fail if go.mod or go.sum is not tidy
	go mod tidy -diff

fuzz: ## run each fuzz target for FUZZTIME (default 20s)
	@grep -roE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sort | while IFS=: read -r file func; do \
		name=$${func#func }; dir=$$(dirname "$$file"); \
		echo "== $$dir $$name"; \
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$dir" </dev/null || exit 1; \
	done

bench: ## run all benchmarks; TLSINK_PACE=10000 for exact attempts to a verdict
	go test -run '^$$' -bench . -benchmem ./...

sim: ## infer 100,000 simulated senders: nothing wrong, and why verdicts stay open
	TLSINK_SIM=100000 GOGC=400 go test -count=1 -v -run TestSimulatedSenders -timeout=20m ./policyinfer

lab: ## test against real mail and DNS servers (root, Debian; see lab/)
	lab/servers.sh bin/lab
	TLSINK_LAB=1 TLSINK_LAB_SERVERS=$(CURDIR)/bin/lab go test -count=1 -timeout=30m -p 1 ./certs/acme ./cmd/tlsink ./dnssec ./history ./zones/... ./lab/... ./packaging

demo: ## watch a whole test on loopback, time compressed
	go run ./cmd/tlsink demo
