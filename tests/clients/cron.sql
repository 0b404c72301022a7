-- What the extension takes for pg_cron, without anything that runs: a table of jobs and the two
-- functions. Like older versions of pg_cron, scheduling a name twice does not replace the job.
create schema cron;
create table cron.job (
    jobid bigint generated always as identity primary key,
    schedule text not null,
    command text not null,
    nodename text not null default 'localhost',
    database text not null default current_database(),
    username text not null default current_user,
    active boolean not null default true,
    jobname text unique
);
create function cron.schedule(job_name text, schedule text, command text) returns bigint
language sql as $$
    insert into cron.job (jobname, schedule, command) values ($1, $2, $3) returning jobid
$$;
create function cron.unschedule(job_id bigint) returns boolean
language sql as $$
    delete from cron.job where jobid = $1 returning true
$$;
