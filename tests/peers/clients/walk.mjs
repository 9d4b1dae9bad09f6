// The steps that TypeScript clients take at a server, and what came of each.
import { same } from './say.mjs';

/** Takes the steps on both sides, at once: equal answers, step by step; the transcript, to look at. */
export async function compare(walk, direct, proxied, steps) {
  const [wanted, got] = await Promise.all([walk(direct), walk(proxied)]);
  same(Object.keys(wanted).length, steps, 'steps directly');
  // The one thing the proxy takes away: behind it everybody's tasks would be listed.
  delete wanted.capabilities?.tasks?.list;
  for (const step of Object.keys(wanted)) same(got[step], wanted[step], `${step} through the proxy`);
  same(Object.keys(got), Object.keys(wanted), 'steps through the proxy');
  return got;
}

/** A server called with a user's own secret, and through the proxy with that user's key. */
export function sides({ direct, proxied }, user, header = 'Authorization') {
  const key = header === 'X-API-Key' ? user.key : `Bearer ${user.key}`;
  return [
    { url: direct, headers: { Authorization: `Bearer ${user.token}` } },
    { url: proxied, headers: { [header]: key } },
  ];
}

/** The person at the client: what each of the server's questions is answered with. */
export const person = {
  'elicitation/create': async ({ params }) => ({
    action: 'accept',
    content: { username: params.message, email: 'a@example.com', name: 'Alice' },
  }),
  'sampling/createMessage': async () => ({
    role: 'assistant',
    content: { type: 'text', text: 'desserts' },
    model: 'test',
  }),
  'roots/list': async () => ({ roots: [{ uri: 'file:///home/alice' }] }),
};
export const capabilities = { elicitation: {}, sampling: {}, roots: {} };

const told = (promise) =>
  promise.catch((error) => {
    if (typeof error?.code !== 'number') throw error;
    return { code: error.code, message: error.message, data: error.data };
  });

/** `call` is callTool(params, options) in either SDK. */
function steps(client, call) {
  const transcript = { server: client.getServerVersion(), capabilities: client.getServerCapabilities() };
  const take = async (name, work) => (transcript[name] = (await told(work)) ?? null);
  // A report that comes together with the answer is dropped by these clients.
  const tool = async (name, args = {}, reports = 0) => {
    let heard = 0;
    const options = reports ? { onprogress: () => (heard += 1) } : undefined;
    await take(name, call({ name, arguments: args }, options));
    if (heard < reports) throw new Error(`${heard} reports of progress from ${name}, not ${reports}`);
  };
  return { transcript, take, tool };
}

export const FIXTURE_STEPS = 17;

export async function walkFixture(client, call) {
  const { transcript, take, tool } = steps(client, call);
  await take('tools', client.listTools());
  await take('resources', client.listResources());
  await take('templates', client.listResourceTemplates());
  await take('prompts', client.listPrompts());
  await take('a text', client.readResource({ uri: 'test://static-text' }));
  await take('no such resource', client.readResource({ uri: 'test://nowhere' }));
  const name = 'test_prompt_with_arguments';
  await take('a prompt', client.getPrompt({ name, arguments: { arg1: 'a', arg2: 'ü' } }));
  const ref = { type: 'ref/prompt', name };
  await take('a completion', client.complete({ ref, argument: { name: 'arg1', value: 'par' } }));
  await tool('whoami');
  await tool('test_error_handling');
  await tool('nonesuch');
  await tool('count', { steps: 3, pause_ms: 200 }, 3);
  await tool('test_elicitation', { message: 'who' });
  await tool('test_sampling', { prompt: 'stressed' });
  await tool('ask_for_roots');
  return transcript;
}

const text = (result) => result?.content?.[0]?.text;

/** What must be in it, so that two equal failures are not taken for a success. */
export function pinFixture(told, user) {
  same(told.server.name, 'cloakroom-fixture', 'server');
  if (told.tools.tools.length < 30) throw new Error(`${told.tools.tools.length} tools`);
  same(told['no such resource'].code, -32602, 'no such resource');
  same(text(told.whoami), user.fingerprint, 'whoami');
  same(text(told.count), 'counted to 3', 'count');
  if (!text(told.test_elicitation).includes('action=accept')) throw new Error(text(told.test_elicitation));
  same(text(told.test_sampling), 'LLM response: desserts', 'sampling');
  same(text(told.ask_for_roots), 'roots: file:///home/alice', 'roots');
}

export const EVERYTHING_STEPS = 12;

export async function walkEverything(client, call) {
  const { transcript, take, tool } = steps(client, call);
  await take('tools', client.listTools());
  await take('prompts', client.listPrompts());
  await take('resources', client.listResources());
  await take('a text', client.readResource({ uri: transcript.resources.resources[0].uri }));
  await tool('echo', { message: 'hällo' });
  await tool('get-tiny-image');
  await tool('get-sum', { a: 1, b: 'two' });
  await tool('trigger-long-running-operation', { duration: 0.9, steps: 3 }, 2);
  await tool('trigger-elicitation-request');
  await tool('trigger-sampling-request', { prompt: 'stressed', maxTokens: 10 });
  return transcript;
}

export function pinEverything(told) {
  if (told.tools.tools.length < 15) throw new Error(`${told.tools.tools.length} tools`);
  same(text(told.echo), 'Echo: hällo', 'echo');
  if (!text(told['trigger-elicitation-request']).includes('provided')) throw new Error('elicitation');
  if (!text(told['trigger-sampling-request']).includes('desserts')) throw new Error('sampling');
}
