# absurd: durable work inside PostgreSQL. `make help` lists the targets.

SHELL := /bin/bash
PG_CONFIG ?= pg_config
DESTDIR ?=
export PG_CONFIG

EXTENSION := absurd
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
DIST := target/dist

.DEFAULT_GOAL := help
.PHONY: help build install uninstall demo demo-stop psql test test-pure test-regress \
	test-isolation test-clients test-dump lint bench setup clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | \
		awk -F'|' '{ printf "  make %-16s %s\n", $$1, $$2 }'

setup: ## install what a build needs and this machine lacks
	@.ci/setup build

build: ## build the library and its SQL for the Postgres of PG_CONFIG
	@.ci/build $(DIST)

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
	@.ci/test lint pure regress isolation clients dump

test-pure: ## rules without a server: states, backoff, names, options
	@.ci/test pure

test-regress: ## what a psql session sees, function by function
	@.ci/test regress

test-isolation: ## verbs that meet on one row, in several sessions
	@.ci/test isolation

test-clients: ## real clients, the examples, and the documents' SQL
	@.ci/test clients

test-dump: ## dump and restore, drop and create again
	@.ci/test dump

lint: ## formatting, clippy and the house rules
	@.ci/test lint

bench: ## time the engine against the plpgsql one
	@benches/run

clean: ## remove everything that was built
	@.ci/demo stop >/dev/null 2>&1 || true
	@. .ci/common && rm -rf "$$(private_home)"
	rm -rf target
