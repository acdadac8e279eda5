# Each target sets up what it needs first; `make help` lists them.

.POSIX:
SHELL = /bin/sh
PATH := $(HOME)/.cargo/bin:$(PATH)
export PATH

# The seconds that the fuzz and soak targets run, the soak's first seed, and the rows of the benchmark
# and the targets of the fuzzer (all when empty).
SECONDS = 60
FROM = 10000
ROWS =
FUZZ =
# The rounds of chaos, their seed (by the clock when empty), and a part of the name of the server
# versions that they are played on (all when empty).
ROUNDS = 20
SEED =
SERVER =
# A part of a test's name: only such tests run.
FILTER =
# Anything: the tests of pods run on servers that no Debian has, Redis 6.2 and Valkey 9.0 (needs nextest).
MORE =
# Anything: the servers of the tests speak TLS only, and every login has few rights; but for tests that
# have logins of their own, and those of containers.
LOCKED =

.PHONY: help setup servers build demo test check audit bench fuzz soak chaos clean

help: ## list the targets (the default)
	@echo 'usage: make TARGET'
	@sed -n 's/^\([a-z]*\): *\([a-z ]*\)## \(.*\)/  \1\t\3/p' Makefile | expand -t 12

setup: ## install what this machine lacks, and name it
	@scripts/setup

servers: setup ## fetch the server versions that the tests run against
	@scripts/servers

build: setup ## build the static binary, optimised
	cargo build --locked --release

demo: setup ## form a cluster of six wrapped servers on this machine, and show what it can do
	@echo 'demo: building, which takes a minute or two the first time'
	@cargo build --locked --quiet
	@cargo run --locked --quiet --example demo

test: setup ## run the tests (FILTER=part of a name, LOCKED=1 with TLS and few rights where they can)
	@REJOIN_TEST_LOCKED=$(LOCKED) REJOIN_TEST_MORE=$(MORE) scripts/test $(FILTER)

check: setup ## format, clippy, docs; licences, sources, versions and known weaknesses of crates
	@scripts/setup --checks
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --document-private-items
	cargo deny --locked check licenses sources bans
	@if cargo deny fetch db >/dev/null 2>&1; then cargo deny --locked check advisories; \
	else echo 'check: left out: known weaknesses of crates, since their database cannot be fetched'; fi

audit: setup ## look for known weaknesses in what we depend on (fetches RustSec's database from GitHub)
	@scripts/setup --checks
	cargo deny --locked check advisories

# The program is built by itself: with the harness, Cargo would give it the features of both.
bench: setup ## measure beside the rivals (ROWS="a c" for some of the rows)
	@cargo build --locked --release
	@mkdir -p target/measured && cp target/*/release/rejoin target/measured/rejoin
	@REJOIN_PROGRAM=$(CURDIR)/target/measured/rejoin cargo bench --locked --profile dev --bench bench -- $(ROWS)

fuzz: setup ## fuzz all that reads bytes from outside (SECONDS=60 for each, FUZZ="info redis_conf" for some)
	@scripts/fuzz $(SECONDS) $(FUZZ)

soak: setup ## run the planner against the model (SECONDS=60, FROM=a seed)
	REJOIN_SOAK_SECONDS=$(SECONDS) REJOIN_SOAK_FROM=$(FROM) cargo test --locked --test it a_soak -- --nocapture

chaos: servers ## do harm to clusters of real servers (ROUNDS=20, SEED=, SERVER=valkey-9.1)
	@cargo build --locked --quiet
	@REJOIN_CHAOS_ROUNDS=$(ROUNDS) REJOIN_CHAOS_SEED=$(SEED) REJOIN_CHAOS_SERVER=$(SERVER) \
		cargo test --locked --quiet --test it more_rounds_of_faults -- --nocapture

clean: ## remove everything that was built
	cargo clean
