# absurd: durable work inside PostgreSQL. `make help` lists the targets.

SHELL := /bin/bash
PG_CONFIG ?= pg_config
DESTDIR ?=
export PG_CONFIG

EXTENSION := absurd
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
DIST := target/dist$(addprefix -,$(PG))
TIERS := lint pure regress isolation newest binary clients workflows server front differential cron dump fuzz storm
SEQUENCES ?= 10000

.DEFAULT_GOAL := help
.PHONY: help build sql install uninstall demo demo-stop psql test test-pure test-regress \
	test-isolation test-newest test-binary test-clients test-server test-front test-differential test-cron test-dump \
	test-deep test-storm test-assert test-all test-workflows fuzz lint bench bench-quick setup clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | \
		awk -F'|' '{ printf "  make %-16s %s\n", $$1, $$2 }'

setup: ## install what a build needs and this machine lacks
	@.ci/setup build

build: ## build the library and its SQL for the Postgres of PG_CONFIG
	@.ci/build $(DIST)

sql: ## write the SQL that the source stands for into sql/
	@mkdir -p target && .ci/build --sql >target/new.sql && mv target/new.sql sql/$(EXTENSION)--$(VERSION).sql

install: build ## install into the Postgres of PG_CONFIG, below DESTDIR
	install -d '$(DESTDIR)$(shell $(PG_CONFIG) --pkglibdir)' \
		'$(DESTDIR)$(shell $(PG_CONFIG) --sharedir)/extension'
	install -m 755 $(DIST)/$(EXTENSION).so '$(DESTDIR)$(shell $(PG_CONFIG) --pkglibdir)/'
	install -m 644 $(DIST)/$(EXTENSION).control $(DIST)/$(EXTENSION)--*.sql \
		'$(DESTDIR)$(shell $(PG_CONFIG) --sharedir)/extension/'

uninstall: ## remove what install put there
	rm -f '$(DESTDIR)$(shell $(PG_CONFIG) --pkglibdir)/$(EXTENSION).so' \
		'$(DESTDIR)$(shell $(PG_CONFIG) --sharedir)/extension/$(EXTENSION)'{.control,--*.sql}

demo: ## run the data pipeline on a private server and leave that running
	@.ci/demo start

demo-stop: ## stop the demo's server and remove its data
	@.ci/demo stop

psql: ## open a shell on the demo's server
	@.ci/demo psql

test: ## run every tier of tests
	@.ci/test $(TIERS)

test-pure: ## rules without a server: states, backoff, names, options
	@.ci/test pure

test-regress: ## what a psql session sees, function by function
	@.ci/test regress

test-isolation: ## verbs that meet on one row, in several sessions
	@.ci/test isolation

test-newest: ## regress, isolation and workflows on the newest major version
	@.ci/test newest

test-clients: ## real clients, the examples, and the documents' SQL
	@.ci/test clients

test-binary: ## every function with typed and with varchar parameters
	@.ci/test binary

test-server: ## notifications, costs, documents against the engine
	@.ci/test server

test-front: ## claims beside an old snapshot, and on a queue of a year's weeks
	@.ci/test front

test-differential: ## the same operations here and on the reference
	@.ci/test differential

test-cron: ## pg_cron's jobs, with the real pg_cron
	@.ci/test cron

test-dump: ## dump and restore, drop and create again
	@.ci/test dump

test-deep: ## SEQUENCES (10000) random sequences of the differential test, from a new seed
	@ABSURD_DIFF_SEQUENCES=$(SEQUENCES) ABSURD_DIFF_SEED=$${SEED:-$$RANDOM} .ci/test differential

fuzz: ## ABSURD_FUZZ_SECONDS (600) of strange values and documents, from ABSURD_FUZZ_SEED or a new one
	@ABSURD_FUZZ_SECONDS=$${ABSURD_FUZZ_SECONDS:-600} .ci/test fuzz

test-storm: ## ABSURD_STORM_SECONDS (600) of everything at once, from ABSURD_STORM_SEED or a new one
	@ABSURD_STORM_SECONDS=$${ABSURD_STORM_SECONDS:-600} .ci/test storm

test-all: ## every tier on each of Postgres 15 to 18
	@for major in 15 16 17 18; do \
		echo "==> Postgres $$major"; PG=$$major .ci/test $(filter-out newest,$(TIERS)) || failed=1; \
	done; exit $${failed:-0}

test-assert: ## isolation, the server tests and the storm on a Postgres built with assertions
	@.ci/setup test && PG=$$(. .ci/common && installed_major)-assert .ci/test isolation server front storm

lint: ## formatting, clippy and the house rules
	@.ci/test lint

bench: ## time the engine against its peers, at full size
	@benches/run

bench-quick: ## the same in small, a few minutes
	@benches/run --quick

test-workflows: ## workflow documents through SQL
	@.ci/test workflows

clean: ## remove everything that was built
	@.ci/demo stop >/dev/null 2>&1 || true
	@. .ci/common && rm -rf "$$(private_home)"
	rm -rf target
