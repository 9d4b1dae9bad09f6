// A missing secret, with both generations of the official TypeScript client.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { check, keyed, pause, peers, said, same } from './say.mjs';

const { resolve } = createRequire(`${process.env.PEER_MODULES}/`);
const load = (path) => import(pathToFileURL(resolve(path).replace(/\.cjs$/, '.mjs')));
const first = {
  ...(await load('@modelcontextprotocol/sdk/client/index.js')),
  ...(await load('@modelcontextprotocol/sdk/client/streamableHttp.js')),
};
const second = await load('@modelcontextprotocol/client');
const capabilities = { elicitation: { form: {}, url: {} } };

/** What the user does on the page, done by the command an administrator has. */
function setSecret(user) {
  const [program, ...options] = peers.cloakroom;
  const line = ['secret', 'set', user.name, 'fixture', 'TOKEN', ...options];
  const process = spawn(program, line, { stdio: ['pipe', 'ignore', 'inherit'] });
  process.stdin.end(user.token);
  return new Promise((done, fail) => {
    process.on('exit', (code) => (code === 0 ? done() : fail(new Error(`secret set ended with ${code}`))));
  });
}

async function connect({ Client, StreamableHTTPClientTransport }, user, mode) {
  const versionNegotiation = mode && { mode };
  const client = new Client({ name: 'peer', version: '1' }, { capabilities, versionNegotiation });
  const transport = new StreamableHTTPClientTransport(new URL(peers.url), keyed(user.key));
  return { client, begin: () => client.connect(transport) };
}

const call = (client) => client.callTool({ name: 'whoami', arguments: {} });

async function refused(sdk, user, mode) {
  const { client, begin } = await connect(sdk, user, mode);
  await begin();
  let error;
  await call(client).catch((caught) => (error = caught));
  if (!error) throw new Error('answered without the secret');
  same(error.code, -32042, 'code');
  const page = (error.elicitations ?? error.data.elicitations)[0];
  same([page.mode, page.url], ['url', peers.page], 'page');
  await setSecret(user);
  same(said(await call(client)), user.fingerprint, 'once it is set');
  await client.close();
}

const users = peers.users;
await check('SDK 1.32.2: refused with the page, set it, answered', () => refused(first, users['ts-first']));
await check('client 2.4.0, legacy: refused with the page, set it, answered', () =>
  refused(second, users['ts-legacy'], 'legacy'));

async function asked(user, answer) {
  const { client, begin } = await connect(second, user, { pin: '2026-07-28' });
  const pages = [];
  client.setRequestHandler('elicitation/create', async ({ params }) => {
    pages.push(params.url);
    return answer();
  });
  await begin();
  const result = await call(client);
  same(pages, [peers.page], 'pages');
  await client.close();
  return result;
}

await check('client 2.4.0, 2026-07-28: asked for the secret, set it, answered', async () => {
  const user = users['ts-modern'];
  const result = await asked(user, () => {
    // The page takes a while, and the client asks again at once: the call has to wait for it.
    pause(500).then(() => setSecret(user));
    return { action: 'accept' };
  });
  same(said(result), user.fingerprint, 'once it is set');
});

await check('client 2.4.0, 2026-07-28: who will not is not asked again', async () => {
  const result = await asked(users['ts-declines'], () => ({ action: 'decline' }));
  same(result.isError, true, 'isError');
  if (!said(result).includes(peers.page)) throw new Error(said(result));
});
process.exit(0);
