// The official TypeScript client package, in both eras.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { check, checkArrivals, keyed, pause, peers, said, same } from './say.mjs';

const { resolve } = createRequire(`${process.env.PEER_MODULES}/`);
const { Client, StreamableHTTPClientTransport } = await import(
  pathToFileURL(resolve('@modelcontextprotocol/client').replace(/\.cjs$/, '.mjs'))
);

const MODES = { legacy: '2025-11-25', auto: '2026-07-28', pinned: '2026-07-28' };
const negotiation = (mode) => (mode === 'pinned' ? { mode: { pin: '2026-07-28' } } : { mode });

async function connect(mode, key, setUp = () => {}, capabilities = {}) {
  const transport = new StreamableHTTPClientTransport(new URL(peers.url), keyed(key));
  const options = { capabilities, versionNegotiation: negotiation(mode) };
  const client = new Client({ name: 'peer', version: '1' }, options);
  setUp(client);
  await client.connect(transport);
  return { client, transport };
}

for (const [mode, revision] of Object.entries(MODES)) {
  await check(`${mode}: connects, lists, calls with the own secret`, async () => {
    for (const user of [peers.alice, peers.bob]) {
      const { client } = await connect(mode, user.key);
      same(client.getNegotiatedProtocolVersion(), revision, 'revision');
      const { tools } = await client.listTools();
      if (!tools.some((tool) => tool.name === 'whoami')) throw new Error('whoami is not listed');
      same(said(await client.callTool({ name: 'whoami' })), user.fingerprint, user.name);
      await client.close();
    }
  });

  await check(`${mode}: progress arrives as it is made`, async () => {
    const { client } = await connect(mode, peers.alice.key);
    const arrived = [];
    const started = Date.now();
    const call = { name: 'count', arguments: { steps: 5, pause_ms: 500 } };
    await client.callTool(call, { onprogress: () => arrived.push(Date.now()) });
    checkArrivals(started, arrived, Date.now());
    await client.close();
  });

  await check(`${mode}: the server's questions are answered`, async () => {
    const answer = (client) => {
      client.setRequestHandler('elicitation/create', async (request) => ({
        action: 'accept',
        content: { username: request.params.message, email: 'a@example.com' },
      }));
      client.setRequestHandler('roots/list', async () => ({ roots: [{ uri: 'file:///home/alice' }] }));
    };
    const { client } = await connect(mode, peers.alice.key, answer, { elicitation: {}, roots: {} });
    const elicited = said(await client.callTool({ name: 'test_elicitation', arguments: { message: 'who' } }));
    if (!elicited.includes('"username": "who"')) throw new Error(elicited);
    await pause(2000);
    same(said(await client.callTool({ name: 'ask_for_roots' })), 'roots: file:///home/alice');
    await client.close();
  });

  for (const [what, key] of [['a key of nobody', peers.wrong_key], ['what is no key', 'not-a-key']]) {
    await check(`${mode}: ${what} is refused with 401`, async () => {
      let error;
      await connect(mode, key).catch((caught) => (error = caught));
      if (!error) throw new Error('the client was let in');
      if (!/401|[Uu]nauthorized/.test(`${error} ${error.code} ${error.status} ${JSON.stringify(error)}`)) throw error;
    });
  }
}

await check('legacy: an answer cut off is resumed', async () => {
  const { client } = await connect('legacy', peers.alice.key);
  const text = said(await client.callTool({ name: 'test_reconnection', arguments: { label: 'resumed' } }));
  if (!text.includes('label=resumed')) throw new Error(text);
  await client.close();
});

await check('legacy: DELETE ends the session', async () => {
  const { client, transport } = await connect('legacy', peers.alice.key);
  if (!transport.sessionId) throw new Error('no session id');
  await transport.terminateSession();
  await client.close();
});

await check('pinned: subscriptions/listen hears a change', async () => {
  let heard;
  const arrived = new Promise((done) => (heard = done));
  const { client } = await connect('pinned', peers.alice.key, (one) =>
    one.setNotificationHandler('notifications/tools/list_changed', heard),
  );
  const subscription = await client.listen({ toolsListChanged: true });
  await client.callTool({ name: 'test_trigger_tool_change' });
  await arrived;
  await subscription.close();
  await client.close();
});

await check('pinned: an annotated argument travels in its header too', async () => {
  const { client } = await connect('pinned', peers.alice.key);
  await client.listTools();
  const result = await client.callTool({ name: 'test_header_param', arguments: { region: 'Zürich' } });
  same(said(result), 'region: Zürich');
  await client.close();
});
process.exit(0);
