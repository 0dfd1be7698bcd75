# The one list of tasks; `make` prints it.

# rustup's home, for shells that have not read the profile.
export PATH := $(HOME)/.cargo/bin:$(PATH)
export KEEP

.DEFAULT_GOAL := help
# Each of these uses the whole machine, and installing comes before building.
.NOTPARALLEL:
.PHONY: help build demo test bench bench-fib bench-restart failover verify fmt reference man deps clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

build: ## Build rtmd and rtmctl (target/debug)
	cargo build --locked

demo: deps build ## Show two programs compete for routes in namespaces, after make deps (root; KEEP=1 leaves it running)
	integration/demo.sh

test: deps verify ## Run everything: checks, all tests, the integration scripts, the demo
	integration/run-tests

verify: ## Check formatting, lints, documentation, shell scripts
	cargo fmt --check
	cargo clippy --locked --quiet --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --quiet --no-deps --document-private-items
	@if command -v shellcheck >/dev/null; then set -x; shellcheck $(SCRIPTS); \
	else echo 'skip: shellcheck is not installed'; fi

fmt: ## Format the source
	cargo fmt

reference: ## Write docs/dbus and the XML in dbus anew, from what the service says about itself
	RTMD_REFERENCE=write cargo test --locked --quiet --test reference

man: ## Write man pages to target/man and completions for bash, zsh and fish to target/completions
	RTMCTL_PAGES=$(CURDIR)/target cargo test --locked --quiet --bin rtmctl pages::

deps: ## Install the Debian packages that building and testing need, those that are missing (root)
	@integration/deps

bench: ## Measure the whole way of a route, and what following a table costs (root)
	cargo build --locked --quiet --release --examples
	cargo bench --locked --quiet --bench system
	cargo bench --locked --quiet --bench changes

bench-fib: ## Measure how fast the kernel is kept in step, beside what it can take (root, some minutes)
	cargo build --locked --quiet --release --examples
	cargo bench --locked --quiet --bench fib

bench-restart: ## Measure what the journal costs, and how fast a restart is (root, a minute)
	cargo build --locked --quiet --release --examples
	cargo bench --locked --quiet --bench restart

failover: ## Measure how long packets go astray when a way fails, beside BIRD (root, some minutes)
	cargo build --locked --quiet --release --examples
	cargo bench --locked --quiet --bench failover -- --bird

clean: ## Remove what was built
	cargo clean --quiet

# Every shell script of the project.
SCRIPTS = .ci/run examples/*.sh integration/*.sh integration/deps integration/private-bus integration/run-tests
