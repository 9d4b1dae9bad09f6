// HTTP+SSE of 2024-11-05: both generations of the official TypeScript client, at two servers.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { check, peers, same } from './say.mjs';
import {
  capabilities,
  compare,
  EVERYTHING_STEPS,
  FIXTURE_STEPS,
  person,
  pinEverything,
  pinFixture,
  sides,
  walkEverything,
  walkFixture,
} from './walk.mjs';

const { resolve } = createRequire(`${process.env.PEER_MODULES}/`);
const load = (path) => import(pathToFileURL(resolve(path).replace(/\.cjs$/, '.mjs')));
const first = {
  ...(await load('@modelcontextprotocol/sdk/client/index.js')),
  ...(await load('@modelcontextprotocol/sdk/client/sse.js')),
};
const types = await load('@modelcontextprotocol/sdk/types.js');
const second = await load('@modelcontextprotocol/client');

const schemas = {
  'elicitation/create': types.ElicitRequestSchema,
  'sampling/createMessage': types.CreateMessageRequestSchema,
  'roots/list': types.ListRootsRequestSchema,
};

const SDKS = {
  'SDK 1.32.2': {
    ...first,
    answers: (client) => {
      for (const [method, answer] of Object.entries(person)) client.setRequestHandler(schemas[method], answer);
    },
    caller: (client) => (params, options) => client.callTool(params, undefined, options),
  },
  'client 2.4.0': {
    ...second,
    answers: (client) => {
      for (const [method, answer] of Object.entries(person)) client.setRequestHandler(method, answer);
    },
    caller: (client) => (params, options) => client.callTool(params, options),
  },
};

async function connect({ Client, SSEClientTransport, answers }, { url, headers }) {
  const client = new Client({ name: 'peer', version: '1' }, { capabilities });
  answers(client);
  await client.connect(new SSEClientTransport(new URL(url), { requestInit: { headers } }));
  return client;
}

const walker = (sdk, walk) => async (side) => {
  const client = await connect(sdk, side);
  try {
    return await walk(client, sdk.caller(client));
  } finally {
    await client.close();
  }
};

for (const [name, sdk] of Object.entries(SDKS)) {
  for (const [user, header] of [[peers.alice, 'Authorization'], [peers.bob, 'X-API-Key']]) {
    await check(`${name}, fixture, ${user.name}: told as directly, by ${header}`, async () => {
      const walk = walker(sdk, walkFixture);
      pinFixture(await compare(walk, ...sides(peers.sse, user, header), FIXTURE_STEPS), user);
    });
    await check(`${name}, server-everything, ${user.name}: told as directly, by ${header}`, async () => {
      const walk = walker(sdk, walkEverything);
      pinEverything(await compare(walk, ...sides(peers.everything, user, header), EVERYTHING_STEPS));
    });
  }

  await check(`${name}: two users at once get their own`, async () => {
    const users = [peers.alice, peers.bob];
    const clients = await Promise.all(users.map((user) => connect(sdk, sides(peers.sse, user)[1])));
    const calls = Array.from({ length: 20 }, (_, n) => sdk.caller(clients[n % 2])({ name: 'whoami' }));
    const told = (await Promise.all(calls)).map((result) => result.content[0].text);
    same(told, Array.from({ length: 20 }, (_, n) => users[n % 2].fingerprint));
    await Promise.all(clients.map((client) => client.close()));
  });

  for (const [what, key] of [['a key of nobody', peers.wrong_key], ['what is no key', 'not-a-key']]) {
    await check(`${name}: ${what} is refused with 401`, async () => {
      let error;
      await connect(sdk, { url: peers.sse.proxied, headers: { Authorization: `Bearer ${key}` } }).catch(
        (caught) => (error = caught),
      );
      if (!error) throw new Error('the client was let in');
      if (error.code !== 401 && !/401|[Uu]nauthorized/.test(String(error))) throw error;
    });
  }
}
process.exit(0);
