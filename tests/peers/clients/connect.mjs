// `cloakroom connect`: both generations of the official TypeScript client, which start it as a command.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { check, checkArrivals, peers, said, same } from './say.mjs';
import {
  capabilities,
  compare,
  EVERYTHING_STEPS,
  FIXTURE_STEPS,
  person,
  pinEverything,
  pinFixture,
  walkEverything,
  walkFixture,
} from './walk.mjs';

const { resolve } = createRequire(`${process.env.PEER_MODULES}/`);
const load = (path) => import(pathToFileURL(resolve(path).replace(/\.cjs$/, '.mjs')));
const first = {
  ...(await load('@modelcontextprotocol/sdk/client/index.js')),
  ...(await load('@modelcontextprotocol/sdk/client/stdio.js')),
  ...(await load('@modelcontextprotocol/sdk/client/sse.js')),
  ...(await load('@modelcontextprotocol/sdk/client/streamableHttp.js')),
};
const types = await load('@modelcontextprotocol/sdk/types.js');
const second = {
  ...(await load('@modelcontextprotocol/client')),
  ...(await load('@modelcontextprotocol/client/stdio')),
};

const schemas = {
  'elicitation/create': types.ElicitRequestSchema,
  'sampling/createMessage': types.CreateMessageRequestSchema,
  'roots/list': types.ListRootsRequestSchema,
};

const ofSecond = (mode) => ({
  ...second,
  options: { versionNegotiation: { mode } },
  answers: (client) => {
    for (const [method, answer] of Object.entries(person)) client.setRequestHandler(method, answer);
  },
  call: (client) => (params, options) => client.callTool(params, options),
});
const SDKS = {
  'SDK 1.32.2': {
    ...first,
    options: {},
    answers: (client) => {
      for (const [method, answer] of Object.entries(person)) client.setRequestHandler(schemas[method], answer);
    },
    call: (client) => (params, options) => client.callTool(params, undefined, options),
  },
  'client 2.4.0': ofSecond('legacy'),
  'client 2.4.0, auto': ofSecond('auto'),
};

// What the bridges said on standard error.
let errors = '';

function direct(sdk, server, user) {
  const options = { requestInit: { headers: { Authorization: `Bearer ${user.token}` } } };
  const Transport = server.transport === 'sse' ? sdk.SSEClientTransport : sdk.StreamableHTTPClientTransport;
  return new Transport(new URL(server.direct), options);
}

function bridged(sdk, server, user, key = user.key) {
  const env = { CLOAKROOM_KEY: key };
  const args = ['connect', server.proxied];
  const transport = new sdk.StdioClientTransport({ command: peers.binary, args, env, stderr: 'pipe' });
  transport.stderr.on('data', (said) => (errors += said));
  return transport;
}

async function connect(sdk, transport) {
  const client = new sdk.Client({ name: 'peer', version: '1' }, { capabilities, ...sdk.options });
  sdk.answers(client);
  await client.connect(transport);
  return client;
}

const walker = (sdk, server, walk) => async (reach) => {
  const client = await connect(sdk, reach(sdk, server, peers.alice));
  try {
    return await walk(client, sdk.call(client));
  } finally {
    await client.close();
  }
};

const toldAsDirectly = (sdk, server, walk, steps) => compare(walker(sdk, server, walk), direct, bridged, steps);

for (const [name, sdk] of Object.entries(SDKS)) {
  await check(`${name}, fixture: told as directly`, async () => {
    pinFixture(await toldAsDirectly(sdk, peers.fixture, walkFixture, FIXTURE_STEPS), peers.alice);
  });
  await check(`${name}, server-everything: told as directly`, async () => {
    pinEverything(await toldAsDirectly(sdk, peers.everything, walkEverything, EVERYTHING_STEPS));
  });
  await check(`${name}: progress arrives as it is made`, async () => {
    const client = await connect(sdk, bridged(sdk, peers.fixture, peers.bob));
    const arrived = [];
    const started = Date.now();
    const call = { name: 'count', arguments: { steps: 5, pause_ms: 500 } };
    await sdk.call(client)(call, { onprogress: () => arrived.push(Date.now()) });
    checkArrivals(started, arrived, Date.now());
    await client.close();
  });
  await check(`${name}: who stops waiting cancels`, async () => {
    const client = await connect(sdk, bridged(sdk, peers.fixture, peers.bob));
    const call = sdk.call(client);
    const label = `TypeScript ${name}`;
    const until = async (state) => {
      while (said(await call({ name: 'waited', arguments: { label } })) !== state);
    };
    const stop = new AbortController();
    const waiting = call({ name: 'wait', arguments: { label } }, { signal: stop.signal }).catch(() => {});
    await until('waiting');
    stop.abort();
    await waiting;
    await until('cancelled');
    await client.close();
  });
  await check(`${name}: a key of nobody is refused with words`, async () => {
    const refused = connect(sdk, bridged(sdk, peers.fixture, peers.alice, peers.wrong_key));
    const why = await refused.then(() => 'it was let in', (error) => error.message);
    if (!why.includes('administrator')) throw new Error(why);
  });
}

for (const name of ['SDK 1.32.2', 'client 2.4.0']) {
  await check(`${name}, SSE: told as directly`, async () => {
    const seen = await toldAsDirectly(SDKS[name], peers.fixture_sse, walkFixture, FIXTURE_STEPS);
    pinFixture(seen, peers.alice);
  });
}

await check('neither key nor secret was shown', async () => {
  for (const { key, token } of [peers.alice, peers.bob]) {
    if (errors.includes(key) || errors.includes(token)) throw new Error('it was shown');
  }
  same(errors.includes(peers.wrong_key), false, 'it was shown');
});
