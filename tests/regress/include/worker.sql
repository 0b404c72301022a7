-- A worker for executed workflow runs: claims steps, shows them by their paths and ends them by these.
create temp table held (id serial, path text, run_id uuid, workflow_run_id uuid);

-- A workflow document of these steps.
create function pg_temp.doc(name text, steps jsonb, fields jsonb default '{}') returns jsonb language sql as $$
    select jsonb_build_object('name', name, 'version', '1', 'tasks', coalesce(jsonb_object_agg(step ->> 'task_id', step), '{}')) || fields
      from jsonb_array_elements(steps) step
$$;

-- Registers such a document for a queue; answers as pg_temp.try does.
create function pg_temp.register(queue text, name text, steps jsonb, fields jsonb default '{}') returns text language sql as $$
    select pg_temp.try(format('select workflow_name, workflow_version, created from absurd.register_workflow(%L, %L)', pg_temp.doc(name, steps, fields), queue))
$$;

-- Claims what is ready.
create function pg_temp.ready(queue text) returns table (path text, task_name text, attempt integer, params jsonb) language plpgsql as $$
begin
    return query
        with claimed as materialized (
            select * from absurd.claim_task(queue, 'worker', 0, 1000)
        ), kept as (
            insert into held (path, run_id, workflow_run_id)
            select headers ->> 'workflow_step', run_id, (headers ->> 'workflow_run_id')::uuid from claimed
        )
        select headers ->> 'workflow_step', c.task_name, c.attempt, c.params from claimed c order by 1, 4;
end $$;

-- Ends the attempt at a step, the newest of that path: with a result, or with a failure.
create function pg_temp.done(queue text, step text, result jsonb default null) returns void language plpgsql as $$
declare
    run uuid;
begin
    delete from held where id = (select max(id) from held where path = step) returning run_id into strict run;
    perform absurd.complete_run(queue, run, result);
end $$;
create function pg_temp.fail(queue text, step text, reason jsonb) returns void language plpgsql as $$
declare
    run uuid;
begin
    delete from held where id = (select max(id) from held where path = step) returning run_id into strict run;
    perform absurd.fail_run(queue, run, reason);
end $$;

-- The steps of a run, and how it stands.
create function pg_temp.steps(run uuid) returns table (path text, operator text, state text, attempts integer, result jsonb, error jsonb) language sql as $$
    select path, operator, state, attempts, result, error from absurd.workflow_run_steps(run)
$$;
create function pg_temp.states(run uuid) returns text language sql as $$
    select string_agg(path || ' ' || state, ', ' order by place) from absurd.workflow_run_steps(run) with ordinality s (path, step_name, operator, state, queue_name, task_id, attempts, started_at, finished_at, result, error, waiting_for, last_error, place)
$$;
create function pg_temp.verdict(run uuid) returns table (status text, result jsonb, error jsonb, started_at timestamptz, completed_at timestamptz) language sql as $$
    select status, result, error, started_at, completed_at from absurd.get_workflow_run(run)
$$;
