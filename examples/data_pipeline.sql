-- A data pipeline, end to end, in psql: orders are extracted from a CSV file, cleaned, and loaded as
-- daily revenue. Every stage is a durable task of one workflow run; one worker is lost on the way.
--
-- Run it from the top of the repository, in a database of its own:
--   psql -d DATABASE -f examples/data_pipeline.sql

\set ON_ERROR_STOP on
-- Functions that return nothing are called with \g /dev/null: psql would print an empty table.
\pset null '-'
set client_min_messages = warning;

create extension if not exists absurd;

create table if not exists raw_orders (
    order_id text, customer text, country text, ordered_on text, amount text, currency text
);
create table if not exists orders (
    order_id bigint primary key, customer text not null, country text not null,
    ordered_on date not null, amount numeric(12, 2) not null, currency text not null
);
create table if not exists daily_revenue (
    ordered_on date, currency text, orders bigint not null, revenue numeric(14, 2) not null,
    primary key (ordered_on, currency)
);

\echo '--- A queue, and a workflow run that its tasks will belong to'

select absurd.create_queue('pipeline') \g /dev/null

select absurd.create_workflow_run(
           workflow_name => 'data_pipeline',
           workflow_version => '1.0.0',
           inputs => '{"source": "examples/data/orders.csv", "target": "daily_revenue"}',
           created_by => 'etl_system',
           tags => '{"environment": "production", "team": "data-eng"}',
           workflow_hash => encode(sha256('extract transform load'), 'hex'),
           queue_name => 'pipeline') as run_of_workflow
\gset
select absurd.update_workflow_run_status(:'run_of_workflow', 'running') \g /dev/null

-- What each task is told: the workflow run stands in its params and in its headers.
select jsonb_build_object('workflow_run_id', :'run_of_workflow') as link,
       jsonb_build_object('headers', jsonb_build_object('workflow_run_id', :'run_of_workflow'),
                          'max_attempts', 3) as options
\gset

\echo
\echo '--- Extract: claim, read the file, checkpoint, complete'

select task_id as extract_task
  from absurd.spawn_task('pipeline', 'extract_orders',
                         :'link'::jsonb || '{"source": "examples/data/orders.csv"}', :'options')
\gset
select task_id, run_id, attempt, task_name, params ->> 'source' as source
  from absurd.claim_task('pipeline', 'extractor-1', 30)
\gset
\echo claimed :task_name, attempt :attempt

begin;
truncate raw_orders;
\copy raw_orders from 'examples/data/orders.csv' with (format csv, header)
select absurd.set_task_checkpoint_state('pipeline', :'task_id', 'extracted',
           (select jsonb_build_object('rows', count(*)) from raw_orders), :'run_id') \g /dev/null
select absurd.complete_run('pipeline', :'run_id',
           (select jsonb_build_object('rows', count(*)) from raw_orders)) \g /dev/null
commit;

\echo
\echo '--- Transform: the worker stores its progress, and is lost'

select task_id as transform_task
  from absurd.spawn_task('pipeline', 'transform_orders', :'link', :'options')
\gset
select task_id, run_id, attempt, task_name
  from absurd.claim_task('pipeline', 'transformer-1', 1)
\gset
\echo claimed :task_name, attempt :attempt, for one second

begin;
truncate orders;
insert into orders
select distinct order_id::bigint, trim(customer), upper(country), ordered_on::date,
       amount::numeric, upper(currency)
  from raw_orders
 where trim(customer) <> '' and amount ~ '^[0-9]+(\.[0-9]+)?$';
select absurd.set_task_checkpoint_state('pipeline', :'task_id', 'cleaned',
           (select jsonb_build_object('kept', count(*),
                                      'rejected', (select count(*) from raw_orders) - count(*))
              from orders), :'run_id') \g /dev/null
commit;
\echo 'the worker has committed its checkpoint and is never heard of again ...'

select pg_sleep(1.1) \g /dev/null
select task_id, run_id, attempt, task_name
  from absurd.claim_task('pipeline', 'transformer-2', 30)
\gset
\echo 'its lease has ended: another worker has' :task_name, attempt :attempt

select checkpoint_name, state
  from absurd.get_task_checkpoint_states('pipeline', :'task_id', :'run_id');
\echo 'the cleaned rows are there already, so it only completes'
select absurd.complete_run('pipeline', :'run_id',
           (select state from absurd.get_task_checkpoint_state('pipeline', :'task_id', 'cleaned'))) \g /dev/null

\echo
\echo '--- Load'

select task_id as load_task
  from absurd.spawn_task('pipeline', 'load_revenue', :'link', :'options')
\gset
select task_id, run_id, attempt, task_name
  from absurd.claim_task('pipeline', 'loader-1', 30)
\gset
begin;
insert into daily_revenue
select ordered_on, currency, count(*), sum(amount) from orders group by 1, 2
on conflict (ordered_on, currency) do update
   set orders = excluded.orders, revenue = excluded.revenue;
select absurd.save_checkpoint_for_run('pipeline', :'run_id', 'loaded',
           (select jsonb_build_object('days', count(distinct ordered_on)) from daily_revenue)) \g /dev/null
select absurd.complete_run('pipeline', :'run_id',
           (select jsonb_build_object('rows', count(*)) from daily_revenue)) \g /dev/null
commit;

select absurd.update_workflow_run_status(:'run_of_workflow', 'completed',
           result => (select jsonb_build_object('output', 'daily_revenue', 'orders', sum(orders))
                        from daily_revenue),
           task_count => 3) \g /dev/null

\echo
\echo '--- A second run, whose source is not there'

select absurd.create_workflow_run('data_pipeline', '1.0.0',
           inputs => '{"source": "examples/data/missing.csv"}',
           created_by => 'etl_system', queue_name => 'pipeline') as failed_run
\gset
select absurd.update_workflow_run_status(:'failed_run', 'running') \g /dev/null
select task_id as failed_task
  from absurd.spawn_task('pipeline', 'extract_orders', '{"source": "examples/data/missing.csv"}',
           jsonb_build_object('workflow_run_id', :'failed_run', 'max_attempts', 1))
\gset
select run_id from absurd.claim_task('pipeline', 'extractor-1', 30)
\gset
select absurd.fail_run('pipeline', :'run_id',
           '{"name": "FileNotFound", "message": "examples/data/missing.csv does not exist"}') \g /dev/null
select absurd.update_workflow_run_status(:'failed_run', 'failed',
           error => '{"type": "ProcessingError", "message": "Data source unavailable",
                      "details": {"source": "examples/data/missing.csv", "retries_attempted": 0}}') \g /dev/null

\echo
\echo '--- Somebody tries to set that run running again; the database refuses'

\set ON_ERROR_STOP off
select absurd.update_workflow_run_status(:'failed_run', 'running');
\set ON_ERROR_STOP on
\echo 'SQLSTATE' :LAST_ERROR_SQLSTATE

\echo
\echo '--- The completed run'
\x on
select workflow_name, workflow_version, status, created_by, inputs, tags, result, task_count,
       completed_at >= started_at as in_order
  from absurd.get_workflow_run(:'run_of_workflow');
\x off

\echo '--- Its tasks'
select task_name, state, attempts, result from absurd.workflow_run_tasks(:'run_of_workflow');

\echo '--- Its history'
select from_status, to_status, changed_by from absurd.workflow_run_history(:'run_of_workflow');

\echo '--- Its progress'
select total, completed, failed, percent from absurd.workflow_run_progress(:'run_of_workflow');

\echo '--- The failed run'
select status, error ->> 'message' as error, error -> 'details' as details
  from absurd.get_workflow_run(:'failed_run');

\echo '--- The data that moved'
select ordered_on, currency, orders, revenue
  from daily_revenue
 order by ordered_on, currency;
