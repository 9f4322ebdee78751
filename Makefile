SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

# Every module of the repository; tools/ only pins what lint runs.
MODULES := $(patsubst %/,%,$(sort $(dir $(shell find . -name go.mod -not -path './tools/*' -not -path '*/testdata/*'))))

BIN := $(CURDIR)/bin
FUZZTIME ?= 5s
KUBERNETES_NEXT := v0.37.2

# The tests that need an API server run this one.
export DEVCLUSTER_BINARY ?= $(BIN)/devcluster

# The race detector needs a C compiler.
RACE ?= $(if $(shell command -v $$(go env CC)),-race)

.PHONY: help
help: ## what there is to make
	@echo "Apiary: Kubernetes resources as cells of a hive."; echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo; echo "  make run ARGS=--help   shows what the example can do"

.PHONY: run
run: build ## run the example, with an API server of its own unless ARGS names a kubeconfig
	@exec $(BIN)/example $(ARGS)

.PHONY: build
build: ## build bin/devcluster (the API server) and bin/example
	@mkdir -p $(BIN)
	@[ -e $(BIN)/devcluster ] || echo "== building the API server: the first time takes some minutes"
	@go build -C devcluster -ldflags '-s -w' -o $(BIN)/devcluster ./cmd/devcluster
	@[ -e $(BIN)/example ] || echo "== building the example"
	@go build -C example -o $(BIN)/example .

.PHONY: test
test: lint build ## lint, then every test under the race detector, then each fuzz target for FUZZTIME
	@[ "$(RACE)" ] || echo "== no C compiler found: testing without the race detector"
	@for m in $(MODULES); do \
		echo "== go test $(RACE) in $$m"; \
		go test -C $$m $(RACE) -timeout 20m ./...; \
	done
	@echo "== fuzz"
	@tools/fuzz $(FUZZTIME)

.PHONY: test-next
test-next: ## test the library with the next Kubernetes modules (go.next.mod; make next writes it anew)
	@echo "== go vet and go test with Kubernetes modules $(KUBERNETES_NEXT)"
	@go vet -modfile=go.next.mod ./...
	@go test -modfile=go.next.mod -timeout 20m ./...

.PHONY: next
next: ## write go.next.mod and go.next.sum: go.mod with the Kubernetes modules at KUBERNETES_NEXT
	@cp go.mod go.next.mod; cp go.sum go.next.sum
	go get -modfile=go.next.mod $$(go mod edit -print go.next.mod | \
		awk '$$1 == "require" {$$1 = ""; $$0 = $$0} $$1 ~ /^k8s\.io\// && $$2 ~ /^v0\.[1-9]/ {print $$1 "@$(KUBERNETES_NEXT)"}')
	go mod tidy -modfile=go.next.mod

.PHONY: lint
lint: ## gofmt, go vet and staticcheck on every module
	@echo "== gofmt"
	@out=$$(gofmt -l .); [ -z "$$out" ] || { echo "not formatted:"; echo "$$out"; exit 1; }
	@staticcheck=$$(go tool -C tools -n staticcheck); for m in $(MODULES); do \
		echo "== go vet and staticcheck in $$m"; \
		go vet -C $$m ./...; \
		(cd $$m && $$staticcheck ./...); \
	done

.PHONY: bench
bench: ## measure beside the peers; the figures go to test/bench/bench.json, those of reading to docs/benchmarks.md too
	@mkdir -p $(BIN); echo "== building the benchmarks and the peers"
	@go build -C test/bench -o $(BIN)/bench .
	@echo "== measuring; leave the machine alone meanwhile"
	@exec $(BIN)/bench -out $(CURDIR)/test/bench/bench.json -report $(CURDIR)/docs/benchmarks.md -plot $(CURDIR)/docs/first-sync.svg

.PHONY: clean
clean: ## remove what was built
	rm -rf $(BIN)
