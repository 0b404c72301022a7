select coalesce(min(msg_id), 0) as id, count(*) as got from pgmq.read(:queue, 600, 1) \gset
\if :got
select pgmq.archive(:queue, :id::bigint);
\endif
