SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

# A second go.mod of the library: the Kubernetes modules before the current ones.
PREVIOUS := test/previous/go.mod
KUBERNETES_PREVIOUS := v0.36.4

# Every module of the repository.
MODULES := $(patsubst %/,%,$(sort $(dir $(shell find . -name go.mod -not -path './$(PREVIOUS)' -not -path '*/testdata/*'))))

BIN := $(CURDIR)/bin
FUZZTIME ?= 5s

# The tests that need an API server run this one.
export DEVCLUSTER_BINARY ?= $(BIN)/devcluster

# What make bench writes.
BENCH_FIGURES := $(CURDIR)/test/bench/bench.json
BENCH_REPORT := $(CURDIR)/docs/benchmarks.md
BENCH_PLOT := $(CURDIR)/docs/first-sync.svg

# go build that shows its progress: $(GO_BUILD) NAME DIR [FLAGS] PACKAGE. DIR is relative to tools.
GO_BUILD := go run -C tools ./build

GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint

# The race detector needs a C compiler.
RACE ?= $(if $(shell command -v $$(go env CC)),-race)

.PHONY: help
help: ## what there is to make
	@echo "Apiary: Kubernetes resources as cells of a hive."; echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo; echo "  make run ARGS=--help   shows what the example can do"

.PHONY: run
run: build ## run the example, with an API server of its own unless ARGS names a kubeconfig
	@exec $(BIN)/example $(ARGS)

.PHONY: build
build: ## build bin/devcluster (the API server), bin/example and bin/kwait
	@mkdir -p $(BIN)
	@[ -e $(BIN)/devcluster ] || echo "== building the API server: the first time takes six to twelve minutes on two cores"
	@$(GO_BUILD) "the API server" ../devcluster -ldflags '-s -w' -o $(BIN)/devcluster ./cmd/devcluster
	@$(GO_BUILD) "the example" ../example -o $(BIN)/example .
	@$(GO_BUILD) kwait ../kwait -o $(BIN)/kwait .

.PHONY: test
test: lint build ## all that CI runs: lint, every test under the race detector, fuzz targets, test-previous
	@[ "$(RACE)" ] || echo "== no C compiler found: testing without the race detector"
	@for m in $(MODULES); do \
		echo "== go test $(RACE) in $$m"; \
		go test -C $$m $(RACE) -timeout 20m ./...; \
	done
	@echo "== fuzz"
	@tools/fuzz $(FUZZTIME)
	@$(MAKE) --no-print-directory test-previous

.PHONY: test-previous
test-previous: ## test the library with the previous Kubernetes modules
	@echo "== go vet and go test with Kubernetes modules $(KUBERNETES_PREVIOUS)"
	@go vet -modfile=$(PREVIOUS) ./...
	@go test -modfile=$(PREVIOUS) -timeout 20m ./...

# Indirect requirements are left out: go mod tidy adds those that the previous modules have.
.PHONY: previous
previous: ## write test/previous from go.mod, with Kubernetes modules at KUBERNETES_PREVIOUS
	@echo '// go.mod with the previous Kubernetes modules, for make test-previous. make previous writes it.' >$(PREVIOUS)
	@echo >>$(PREVIOUS); grep -v '// indirect' go.mod >>$(PREVIOUS); cp go.sum $(PREVIOUS:.mod=.sum)
	go get -modfile=$(PREVIOUS) $$(awk '$$1 ~ /^k8s\.io\// && $$2 ~ /^v0\.[1-9]/ {print $$1 "@$(KUBERNETES_PREVIOUS)"}' $(PREVIOUS))
	go mod tidy -modfile=$(PREVIOUS)

.PHONY: lint
lint: ## gofmt, the words of tools/words, and golangci-lint (.golangci.yml) on every module
	@echo "== gofmt"
	@out=$$(gofmt -l .); [ -z "$$out" ] || { echo "not formatted:"; echo "$$out"; exit 1; }
	@echo "== words"
	@go run -C tools ./words ..
	@$(GO_BUILD) golangci-lint . -o /dev/null $(GOLANGCI_LINT)
	@lint=$$(go tool -C tools -n golangci-lint); for m in $(MODULES); do \
		echo "== golangci-lint in $$m"; \
		(cd $$m && $$lint run ./...); \
	done

.PHONY: bench
bench: ## measure beside the peers; writes test/bench/bench.json and docs/benchmarks.md
	@mkdir -p $(BIN); echo "== building the benchmarks and the peers"
	@$(GO_BUILD) "the benchmarks" ../test/bench -o $(BIN)/bench .
	@echo "== measuring; leave the machine alone meanwhile"
	@exec $(BIN)/bench -out $(BENCH_FIGURES) -report $(BENCH_REPORT) -plot $(BENCH_PLOT)

.PHONY: clean
clean: ## remove what was built
	rm -rf $(BIN)
