// pg-boss on its own task. `pgboss.mjs SOCKET DATABASE setup|fill N|claim N|enqueue N K|work N K`
import PgBoss from "pg-boss";

const [socket, database, verb, ...numbers] = process.argv.slice(2);
const [count, workers] = numbers.map(Number);
const boss = new PgBoss({ host: socket, port: 54330, user: "postgres", database, max: 12, supervise: false, schedule: false });
const print = (numbers) => console.log(JSON.stringify(numbers));
boss.on("error", (error) => { console.error(error); process.exit(1); });
await boss.start();

const together = async (n, k, one) => {
  const began = performance.now();
  await Promise.all(Array.from({ length: k }, async (_, w) => { for (let i = w; i < n; i += k) await one(i); }));
  return (performance.now() - began) / 1000;
};
// Its worker sleeps half a second between jobs, so the workers here are loops of fetch and complete.
const finish = async () => {
  const [job] = await boss.fetch("work", { batchSize: 1 });
  if (!job) throw new Error("no job");
  await boss.complete("work", job.id, { ok: true });
};

if (verb === "setup") {
  await boss.createQueue("work");
  print({});
} else if (verb === "fill") {
  for (let done = 0; done < count; done += 10000) {
    const size = Math.min(10000, count - done);
    await boss.insert(Array.from({ length: size }, () => ({ name: "work", data: { n: 1 } })));
  }
  print({});
} else if (verb === "claim") {
  const times = [];
  const end = performance.now() + 3000;
  for (let i = 0; i < count && (i < 7 || performance.now() < end); i += 1) {
    const began = performance.now();
    const jobs = await boss.fetch("work", { batchSize: 1 });
    times.push((performance.now() - began) * 1000);
    if (jobs.length !== 1) throw new Error(`got ${jobs.length} jobs`);
  }
  print({ us: times });
} else if (verb === "enqueue") {
  print({ seconds: await together(count, workers, () => boss.send("work", { n: 1 })) });
} else {
  print({ seconds: await together(count, workers, finish) });
}
await boss.stop({ graceful: false, wait: true });
process.exit(0);
