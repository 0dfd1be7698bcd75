# The one list of tasks; `make` prints it.

# rustup's home, for shells that have not read the profile.
export PATH := $(HOME)/.cargo/bin:$(PATH)
export KEEP

.DEFAULT_GOAL := help
# Each of these uses the whole machine, and installing comes before building.
.NOTPARALLEL:
.PHONY: help build demo test bench bench-fib bench-restart failover verify fmt reference man deps clean \
	deb rpm install install-data stage

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

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

deb: target/tools/bin/cargo-deb stage ## Make a Debian package (target/debian)
	target/tools/bin/cargo-deb --locked

rpm: target/tools/bin/cargo-generate-rpm stage ## Make an RPM package (target/generate-rpm)
	cargo build --locked --release
	target/tools/bin/cargo-generate-rpm

# Tools that Debian does not have, kept until `make clean`. The first is used by a test, and is built sooner in
# the mode in which it is fast enough for that; the other one takes minutes then.
target/tools/bin/cargo-deb: MODE = --debug
target/tools/bin/%:
	cargo install --locked --quiet $(MODE) --root target/tools $*

install: man ## Install what cargo build --release made, without a package (root; DESTDIR=…)
	$(MAKE) --no-print-directory --silent install-data
	install -D -m 755 target/release/rtmd $(DESTDIR)/usr/sbin/rtmd
	install -D -m 755 target/release/rtmctl $(DESTDIR)/usr/bin/rtmctl

# Everything but the programs, which is the same in all packages.
install-data:
	for file in $(DATA); do install -D -m 644 $${file%:*} $(DESTDIR)$${file#*:} || exit; done
	gzip -9n <CHANGELOG.md >$(DESTDIR)/usr/share/doc/rtmd/changelog.gz
	install -d $(DESTDIR)/etc/rtmd
	awk -f packaging/default-configuration.awk README.md >$(DESTDIR)/etc/rtmd/rtmd.toml
	chmod 644 $(DESTDIR)/etc/rtmd/rtmd.toml

# Where the packages take it from; units apart, for which the tool writes the scripts.
stage: man
	rm -rf target/package
	$(MAKE) --no-print-directory --silent install-data DESTDIR=target/package/root
	mv target/package/root/usr/lib/systemd/system target/package/units
	packaging/changelog >target/package/changelog

clean: ## Remove what was built
	cargo clean --quiet

# What is installed, and where.
DATA = \
	systemd/rtmd.service:/usr/lib/systemd/system/rtmd.service \
	systemd/sysusers.d/rtmd.conf:/usr/lib/sysusers.d/rtmd.conf \
	systemd/sysctl.d/50-rtmd.conf:/usr/lib/sysctl.d/50-rtmd.conf \
	systemd/networkd.conf.d/50-rtmd.conf:/usr/lib/systemd/networkd.conf.d/50-rtmd.conf \
	dbus/org.rtmd1.conf:/usr/share/dbus-1/system.d/org.rtmd1.conf \
	dbus/org.rtmd1.service:/usr/share/dbus-1/system-services/org.rtmd1.service \
	packaging/iproute2/rtmd.conf:/etc/iproute2/rt_protos.d/rtmd.conf \
	$(foreach file,$(wildcard dbus/*.policy),$(file):/usr/share/polkit-1/actions/$(notdir $(file))) \
	$(foreach file,$(wildcard dbus/*.xml),$(file):/usr/share/dbus-1/interfaces/$(notdir $(file))) \
	README.md:/usr/share/doc/rtmd/README.md \
	$(foreach page,$(wildcard target/man/*),$(page):/usr/share/man/man$(subst .,,$(suffix $(page)))/$(notdir $(page))) \
	target/completions/rtmctl:/usr/share/bash-completion/completions/rtmctl \
	target/completions/_rtmctl:/usr/share/zsh/vendor-completions/_rtmctl \
	target/completions/rtmctl.fish:/usr/share/fish/vendor_completions.d/rtmctl.fish

# Every shell script of the project.
SCRIPTS = packaging/changelog packaging/debian/p* packaging/rpm/* integration/systemd/boot integration/systemd/cgroup \
	integration/systemd/*.sh \
	.ci/run examples/*.sh integration/*.sh integration/deps integration/private-bus integration/run-tests
