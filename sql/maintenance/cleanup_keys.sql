-- Of a partitioned queue also the keys.
, keys as (
    delete from {i} i using gone where i.task_id = gone.task_id
)
