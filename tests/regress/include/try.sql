-- Runs a statement; answers with its row, or the SQLSTATE and message of its error. Ids are masked.
create function pg_temp.try(statement text) returns text language plpgsql as $$
declare
    answer record;
    found_rows bigint;
    code text;
    message text;
begin
    execute statement into answer;
    get diagnostics found_rows = row_count;
    if found_rows = 0 then
        return 'no row';
    end if;
    return 'ok ' || regexp_replace(answer::text, '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}', '<id>', 'g');
exception when others then
    get stacked diagnostics code = returned_sqlstate, message = message_text;
    return code || ' ' || regexp_replace(message, '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}', '<id>', 'g');
end $$;
