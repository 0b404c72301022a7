//! Every function with parameters in the binary format.

use std::collections::BTreeMap;

use absurd_binary_client::call::Style;
use absurd_binary_client::calls;
use absurd_binary_client::database::{self, Failure};
use tokio_postgres::types::Type;

/// Makes every call in one style. Tells all that went wrong, not only the first.
async fn make_all(name: &str, style: Style) -> Result<(), Failure> {
    let (mut client, executed) = database::open(name).await?;
    let mut made = 0;
    let mut wrong = Vec::new();
    for call in calls::all(executed).into_iter().filter(|call| call.varies(style)) {
        made += 1;
        if let Err(failure) = call.make(&mut client, style).await {
            wrong.push(failure.to_string());
        }
    }
    assert!(wrong.is_empty(), "{} of {made} calls:\n{}", wrong.len(), wrong.join("\n"));
    assert!(made > 0, "no call differs in this style");
    println!("{made} calls");
    Ok(())
}

#[tokio::test]
async fn typed_as_declared() -> Result<(), Failure> {
    make_all("absurd_binary_exact", Style::Exact).await
}

#[tokio::test]
async fn types_left_to_the_server() -> Result<(), Failure> {
    make_all("absurd_binary_inferred", Style::Inferred).await
}

#[tokio::test]
async fn integers_as_int2() -> Result<(), Failure> {
    make_all("absurd_binary_int2", Style::SmallIntegers).await
}

#[tokio::test]
async fn text_as_varchar() -> Result<(), Failure> {
    make_all("absurd_binary_varchar", Style::Varchar).await
}

/// The list of calls is the list of functions, with the types that the catalogue has.
#[tokio::test]
async fn no_function_is_left_out() -> Result<(), Failure> {
    let (client, executed) = database::open("absurd_binary_catalogue").await?;
    let rows = client
        .query(
            "select p.proname::text, p.proargtypes::oid[], (p.pronargs - p.pronargdefaults)::int4
               from pg_proc p
              where p.pronamespace = 'absurd'::regnamespace
                and p.prorettype <> 'trigger'::regtype",
            &[],
        )
        .await?;
    let mut functions = BTreeMap::new();
    for row in rows {
        let name: String = row.try_get(0)?;
        let types: Vec<u32> = row.try_get(1)?;
        let required: i32 = row.try_get(2)?;
        let same = functions.insert((name, types.len()), (types, required));
        assert!(same.is_none(), "two functions share a name and a number of arguments");
    }
    let mut wrong = Vec::new();
    let mut called = BTreeMap::new();
    for call in calls::all(executed) {
        let key = (call.function.to_owned(), call.args.len());
        let types: Vec<u32> = call.args.iter().map(|arg| Type::oid(&arg.declared())).collect();
        match functions.get(&key) {
            None => wrong.push(format!("{key:?} is called and does not exist")),
            Some(found) if *found != (types, call.required as i32) => {
                wrong.push(format!("{key:?} has other types or defaults: {found:?}"));
            }
            Some(_) => {}
        }
        called.insert(key, ());
    }
    for key in functions.keys().filter(|key| !called.contains_key(*key)) {
        wrong.push(format!("{key:?} exists and is not called"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{} functions", functions.len());
    Ok(())
}
