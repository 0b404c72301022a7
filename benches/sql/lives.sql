-- Whole lives of tasks, each call a transaction of its own as a worker's are.

create procedure bench.life(p_queue text, p_lives int)
language plpgsql as $$
declare run uuid; task uuid;
begin
    for i in 1 .. p_lives loop
        perform absurd.spawn_task(p_queue, 'task', '{"n": 1}', '{"max_attempts": 3}');
        commit;
        select run_id, task_id into strict run, task from absurd.claim_task(p_queue, 'worker', 600, 1);
        commit;
        perform absurd.set_task_checkpoint_state(p_queue, task, 'one', '{"done": true}', run, 600);
        commit;
        perform absurd.set_task_checkpoint_state(p_queue, task, 'two', '{"done": true}', run, 600);
        commit;
        perform absurd.complete_run(p_queue, run, '{"ok": true}');
        commit;
    end loop;
end $$;

-- The same in one transaction each hundred lives; for memory that a backend must not gather.
create procedure bench.calls(p_queue text, p_calls int)
language plpgsql as $$
declare run uuid;
begin
    for i in 1 .. p_calls / 4 loop
        perform absurd.spawn_task(p_queue, 'task', '{"n": 1}', '{"max_attempts": 3}');
        select run_id into strict run from absurd.claim_task(p_queue, 'worker', 600, 1);
        perform absurd.extend_claim(p_queue, run, 600);
        perform absurd.complete_run(p_queue, run, '{"ok": true}');
        if i % 100 = 0 then
            commit;
        end if;
    end loop;
end $$;

create procedure bench.touch_queues(p_prefix text, p_from int, p_to int)
language plpgsql as $$
declare run uuid; task uuid;
begin
    for i in p_from .. p_to loop
        perform absurd.spawn_task(p_prefix || i, 'task', '{"n": 1}');
        select run_id, task_id into strict run, task from absurd.claim_task(p_prefix || i, 'worker', 600, 1);
        perform absurd.set_task_checkpoint_state(p_prefix || i, task, 'one', '{"done": true}', run, 600);
        perform absurd.complete_run(p_prefix || i, run, '{"ok": true}');
        commit;
    end loop;
end $$;

create procedure bench.create_queues(p_prefix text, p_from int, p_to int)
language plpgsql as $$
begin
    for i in p_from .. p_to loop
        perform absurd.create_queue(p_prefix || i);
        commit;
    end loop;
end $$;
