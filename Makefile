# What a newcomer needs: `make demo` and `make test`. Both install what they need (Debian, as root) or say what is missing.

CARGO ?= cargo
export CARGO_TERM_COLOR ?= auto

.PHONY: help
help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make demo    builds and starts the main job in one process: embedded broker, seeded shop, sample segments, a view of it
.PHONY: demo
demo: tools
	$(CARGO) build --release
	./target/release/segmentd demo $(ARGS)

# Random cases of `make test`, SEED:CASES, and how it is built: what ten thousand of them cost in an unoptimised build is more than what it
# takes to optimise this package a little. Debug assertions and checks of overflow stay.
SIMULATION ?= 0:10000
TEST = --features broker-tests --config profile.dev.package.segmentd.opt-level=1

## make test    everything: unit, conformance, property and golden tests, ten thousand random cases, and the suite on a real Apache Kafka
.PHONY: test
test: tools kafka
	$(CARGO) build $(TEST) --tests --bins
	SIMULATION=$(SIMULATION) $(CARGO) test $(TEST)

## make quick   the same without Apache Kafka
.PHONY: quick
quick: tools
	$(CARGO) test

## make bench   every figure of the budgets, on this machine (release build; starts Apache Kafka)
.PHONY: bench
bench: tools kafka
	$(CARGO) bench --features broker-tests $(ARGS)

## make lint    format, clippy and docs, warnings denied
.PHONY: lint
lint: tools
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --features broker-tests -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items

## make audit   advisories and licences of the dependencies (needs cargo-deny and a network database)
.PHONY: audit
audit:
	@command -v cargo-deny >/dev/null || { echo "cargo-deny is missing: cargo install --locked cargo-deny"; exit 1; }
	cargo deny check

# A C and C++ compiler and make, for the Kafka client library.
.PHONY: tools
tools:
	@command -v $(CARGO) >/dev/null || { echo "a Rust toolchain (1.95 or later) is missing: see https://rustup.rs"; exit 1; }
	@if ! { command -v gcc && command -v g++; } >/dev/null; then \
	  if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	    echo "installing gcc, g++, libc6-dev"; apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc g++ libc6-dev; \
	  else echo "gcc and g++ are missing: apt-get install gcc g++ libc6-dev"; exit 1; fi; fi

# Apache Kafka as Java artifacts in a cache folder outside the tree; installs Java and Maven where they are missing.
.PHONY: kafka
kafka:
	@tests/kafka/broker libs
