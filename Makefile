# Everything a developer does. Each target sets up what it needs on a fresh Debian machine with Rust and Python.

CARGO ?= cargo

.PHONY: help run test lint setup clean

help:
	@echo "make run    build and serve examples/demo at http://127.0.0.1:8000"
	@echo "make test   install what the tests need, then run all tests"
	@echo "make lint   check format and lints"
	@echo "make clean  remove what was built and the virtual environment of the tests"

run:
	$(CARGO) build --release --bin rwsgi
	exec target/release/rwsgi -c examples/demo/app.toml

setup:
	@scripts/setup

test: setup
	$(CARGO) test

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings

clean:
	$(CARGO) clean
	rm -rf .venv
