// What the official suite's mock server of one scenario wants of a client, done with the official
// TypeScript client. The suite appends the server's URL to the command and names the scenario in
// $MCP_CONFORMANCE_SCENARIO; $PEER_BEARER is the key for a proxy in between. Prints all it was told,
// failures too, so that two runs can be compared.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const { resolve } = createRequire(`${process.env.PEER_MODULES}/`);
const { Client, StreamableHTTPClientTransport } = await import(
  pathToFileURL(resolve('@modelcontextprotocol/client').replace(/\.cjs$/, '.mjs'))
);

const { MCP_CONFORMANCE_SCENARIO: scenario, MCP_CONFORMANCE_PROTOCOL_VERSION: revision = '2025-11-25' } = process.env;
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? '{}');

async function connect(mode) {
  const key = process.env.PEER_BEARER;
  const options = key ? { requestInit: { headers: { Authorization: `Bearer ${key}` } } } : {};
  const transport = new StreamableHTTPClientTransport(new URL(process.argv.at(-1)), options);
  const capabilities = { elicitation: { form: { applyDefaults: true } }, roots: {}, sampling: {} };
  const client = new Client({ name: 'peer', version: '1' }, { capabilities, versionNegotiation: { mode } });
  client.setRequestHandler('elicitation/create', async ({ params }) => ({
    action: 'accept',
    content: params.requestedSchema?.properties?.confirmed ? { confirmed: true } : {},
  }));
  await client.connect(transport);
  return client;
}

async function told(what) {
  const result = await what.catch(({ name, code, message }) => ({ name, code, message }));
  console.log(JSON.stringify(result));
  return result;
}
const call = (client, name, args = {}) => told(client.callTool({ name, arguments: args }));
const list = async (client) => (await told(client.listTools())).tools;

const SCENARIOS = {
  initialize: list,
  async tools_call(client) {
    await list(client);
    await call(client, 'add_numbers', { a: 5, b: 3 });
  },
  async 'elicitation-sep1034-client-defaults'(client) {
    await list(client);
    await call(client, 'test_client_elicitation_defaults');
  },
  async 'sse-retry'(client) {
    await list(client);
    await call(client, 'test_reconnection');
  },
  'request-metadata': list,
  async 'sep-2322-client-request-state'(client) {
    await list(client);
    for (const name of ['echo_state', 'unrelated', 'no_state', 'no_result_type']) await call(client, `test_mrtr_${name}`);
  },
  async 'http-standard-headers'(client) {
    for (const { name } of await list(client)) await call(client, name);
    for (const { uri } of (await told(client.listResources())).resources) await told(client.readResource({ uri }));
    for (const { name } of (await told(client.listPrompts())).prompts) await told(client.getPrompt({ name }));
  },
  async 'http-custom-headers'(client) {
    await list(client);
    for (const { name, arguments: args } of context.toolCalls) await call(client, name, args);
  },
  async 'http-invalid-tool-headers'(client) {
    for (const { name } of await list(client)) await call(client, name, { region: 'eu' });
  },
  'json-schema-ref-no-deref': list,
  async 'json-schema-2020-12-preservation'(client) {
    const { inputSchema } = (await list(client)).find(({ name }) => name === 'json_schema_2020_12_tool');
    await call(client, 'json_schema_echo', { schema: inputSchema });
  },
};

// One scenario refuses the first version it is offered: there the client is to find out by itself.
const modern = scenario === 'request-metadata' ? 'auto' : { pin: revision };
const client = await connect(revision < '2026' ? 'legacy' : modern);
await SCENARIOS[scenario](client);
await client.close();
process.exit(0);
