// The tasks of the SDK tests, the same that the Python workers know.

import { CancelledTask, FailedTask, TimeoutError } from "absurd-sdk";

import { pause, until } from "./ledger.js";

const TRIES = 10;

/** Registers the tasks; a parent spawns into the queue `children`. */
export function register(app, book, children) {
  const task = (name, handler) => app.registerTask({ name }, handler);

  task("steps", async (params, context) => {
    await book.did(context.taskID, "start");
    const add = (number) => async () => {
      await book.did(context.taskID, `add ${number}`);
      return { sum: params.base + number };
    };
    const first = await context.step("add", add(1));
    const second = await context.step("add", add(2));
    const handle = await context.beginStep("by hand");
    const third = await context.completeStep(handle, ["by", "hand", null]);
    const fourth = await context.step("decorated", async () => "ünï");
    return { all: [first, second, third, fourth], headers: context.headers };
  });

  task("together", (params, context) =>
    context.step("meet", async () => {
      await book.did(context.taskID, params.place);
      await until(async () => (await book.present(params.place)) >= params.of, "the companions");
      return "met";
    }),
  );

  task("sleeper", async (params, context) => {
    await book.did(context.taskID, "start");
    await context.step("before", () => book.did(context.taskID, "before").then(() => true));
    if (params.until) await context.sleepUntil("nap", new Date(params.until));
    else await context.sleepFor("nap", params.seconds);
    await context.step("after", () => book.did(context.taskID, "after").then(() => true));
    return "awake";
  });

  task("listener", async (params, context) => {
    await book.did(context.taskID, "start");
    try {
      return { heard: await context.awaitEvent(params.event, { timeout: params.timeout }) };
    } catch (problem) {
      if (!(problem instanceof TimeoutError)) throw problem;
      const then = params.then ? await context.awaitEvent(params.then) : null;
      return { "gave up": params.event, then };
    }
  });

  task("speaker", async (params, context) => {
    await context.emitEvent(params.event, params.payload);
    return "said";
  });

  // Passes an event on. A timeout is no end: it looks again. After one the next answer, of the same
  // event, may be nothing: the engine tells a timeout once, too.
  task("relay", async (params, context) => {
    for (let left = TRIES; left > 0; left -= 1) {
      try {
        const heard = await context.awaitEvent(params.hear, { timeout: params.patience });
        if (heard === null) continue;
        await context.emitEvent(params.say, { hops: heard.hops + 1 });
        return { heard };
      } catch (problem) {
        if (!(problem instanceof TimeoutError)) throw problem;
      }
    }
  });

  task("beating", (params, context) =>
    context.step("work", async () => {
      await context.heartbeat(params.seconds);
      await book.did(context.taskID, "beat");
      await until(() => book.isOpen(params.gate), "the gate opens");
      await context.heartbeat();
      return "alive";
    }),
  );

  task("flaky", async (params, context) => {
    const once = await context.step("once", async () => {
      await book.did(context.taskID, "once");
      return "kept";
    });
    await book.did(context.taskID, "try");
    const tries = await book.times(context.taskID, "try");
    if (tries <= params.failures) throw new RangeError(`try ${tries} goes wrong`);
    return { once, tries };
  });

  task("long", async (_, context) => {
    await book.did(context.taskID, "started");
    try {
      // Until the engine says that the task is not ours.
      await until(() => context.heartbeat(30).then(() => pause(20)), "the cancellation");
    } catch (problem) {
      if (problem instanceof CancelledTask) await book.did(context.taskID, "cancelled");
      throw problem;
    }
  });

  task("parent", async (params, context) => {
    const child = await context.step("spawn", async () => {
      const spawned = await app.spawn(
        "grow",
        { base: params.base },
        { queue: children, idempotencyKey: `child of ${context.taskID}` },
      );
      return spawned.taskID;
    });
    const options = { queue: children, timeout: 30 };
    const { state, result } = await context.awaitTaskResult(child, options);
    return { child, state, of: result };
  });

  task("guarded", async (params, context) => {
    await context.step("first", () => book.did(context.taskID, "first").then(() => true));
    try {
      return await context.step("second", async () => {
        await book.did(context.taskID, "second");
        await until(() => book.isOpen(params.gate), "the gate opens");
        return params.gate;
      });
    } catch (problem) {
      if (problem instanceof FailedTask) await book.did(context.taskID, "lost");
      throw problem;
    }
  });
}

/** The task of the queue of children. */
export function registerChild(app) {
  app.registerTask({ name: "grow" }, async (params) => ({ grown: params.base + 1 }));
}
