// How a client script tells its results: a line for each check, read by run.py.
export const peers = JSON.parse(process.env.PEERS);

export const said = (result) => result.content[0].text;

export const keyed = (key) => ({ requestInit: { headers: { Authorization: `Bearer ${key}` } } });

export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

export function same(got, wanted, what = 'got') {
  if (JSON.stringify(got) !== JSON.stringify(wanted)) {
    throw new Error(`${what}: ${JSON.stringify(got)}, wanted ${JSON.stringify(wanted)}`);
  }
}

/** Run one check; it fails by throwing. */
export async function check(name, work, ms = 20_000) {
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error(`not done after ${ms} ms`)), ms);
  });
  try {
    await Promise.race([work(), late]);
    console.log(`ok ${name}`);
  } catch (error) {
    console.log(`not ok ${name}: ${String(error?.message ?? error).replaceAll('\n', ' ')}`);
  } finally {
    clearTimeout(timer);
  }
}

/** Progress arrives while it is made, not with the answer. */
export function checkArrivals(started, arrived, ended) {
  same(arrived.length, 5, 'notifications');
  const [first, last] = [arrived[0], arrived.at(-1)];
  if (first - started > 1500) throw new Error(`the first came after ${first - started} ms`);
  if (last - first < 600) throw new Error(`all came within ${last - first} ms`);
  if (ended - last < 100) throw new Error(`the last came ${ended - last} ms before the answer`);
}
