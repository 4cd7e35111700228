# Everything a developer does. Each target sets up what it needs on a fresh Debian machine with Rust and Python.

CARGO ?= cargo

FUZZ_TARGETS = $(basename $(notdir $(wildcard fuzz/targets/*.rs)))
TARGET ?= $(FUZZ_TARGETS)
SECONDS ?= 600

# What `make bench` measures; each may be left out. SECONDS of the environment or the command line, not the default above.
BENCH = $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(filter-out file,$(origin SECONDS)),--seconds $(SECONDS)) \
	$(if $(SCENARIOS),--scenarios $(SCENARIOS)) $(if $(SERVERS),--servers $(SERVERS))

.PHONY: help run test chaos loom bench bench-quick profile lint fuzz fuzz-smoke setup clean man completions deb wheel matrix \
	test-packages test-wheel

help:
	@echo "make run    build and serve examples/demo at http://127.0.0.1:8000"
	@echo "make test   install what the tests need, then run all tests"
	@echo "make chaos  reloads, kills, upgrades, stuck requests and shortages under load, as often as wanted of a release (minutes)"
	@echo "make loom   try every interleaving of the locks by which the reactor changes hands"
	@echo "make bench  speed, fairness and footprint beside other servers (half an hour); docs/performance.md has the options"
	@echo "make bench-quick  a first look at the same in a few minutes"
	@echo "make lint   check format and lints"
	@echo "make fuzz   fuzz every target for ten minutes (or TARGET=head SECONDS=60); INPUT=file replays a finding"
	@echo "make fuzz-smoke   fuzz every target for 30 s"
	@echo "make profile   count what is run, so that make deb and make wheel build a quicker program (minutes)"
	@echo "make deb    the Debian package, into target/deb; make test-packages installs, upgrades and purges it in a Debian of its own"
	@echo "make wheel  the Python package, into target/wheel/dist; make test-wheel installs and runs it"
	@echo "make man completions   manual pages and completion scripts, into target/man and target/completions"
	@echo "make matrix   builds and tests with every CPython from 3.9 on that is found here (or PYTHONS='/path/to/python3.12 …')"
	@echo "make clean  remove what was built and the virtual environment of the tests"

run:
	$(CARGO) build --release --bin rwsgi
	exec target/release/rwsgi -c examples/demo/app.toml

setup:
	@scripts/setup

test: setup
	$(CARGO) test

# The short form of the same suite is a part of `make test`.
chaos: setup
	$(CARGO) test --release --test chaos --no-run
	@begun=$$(date +%s); RWSGI_CHAOS=full timeout 3600 $(CARGO) test --release --test chaos -- --nocapture; \
	outcome=$$?; echo "chaos: $$(($$(date +%s) - begun)) s"; exit $$outcome

# Every interleaving of the locks by which the reactor changes hands.
loom:
	RUSTFLAGS="--cfg loom" $(CARGO) test --target-dir target/loom --lib berth

# Needs a machine that does nothing else; docs/performance.md.
bench:
	@scripts/bench run $(BENCH)

# For `make deb` and `make wheel`, of the same source.
profile:
	@scripts/profile

bench-quick:
	@scripts/bench quick $(BENCH)

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings

fuzz:
	@scripts/fuzz $(if $(INPUT),replay $(firstword $(TARGET)) $(INPUT),$(SECONDS) $(TARGET))

fuzz-smoke:
	@scripts/fuzz 30 $(FUZZ_TARGETS)

man:
	$(CARGO) build --bin rwsgi
	@mkdir -p target/man
	@for page in rwsgi.1 rwsgi-ctl.1 rwsgi.toml.5; do target/debug/rwsgi defaults --format $$page >target/man/$$page || exit; done
	@ls target/man/*

completions:
	$(CARGO) build --bin rwsgi
	@mkdir -p target/completions
	@for shell in bash zsh fish; do target/debug/rwsgi defaults --format $$shell >target/completions/rwsgi.$$shell || exit; done
	@ls target/completions/*

deb:
	@scripts/deb

wheel:
	@scripts/wheel

test-packages:
	@scripts/test-packages

test-wheel:
	@scripts/test-wheel

matrix:
	@CARGO="$(CARGO)" scripts/matrix $(PYTHONS)

clean:
	$(CARGO) clean
	$(CARGO) clean --manifest-path fuzz/Cargo.toml
	rm -rf .venv
