// Preloaded with `node --import`: adds `Authorization: Bearer $PEER_BEARER` to every request to the
// origin $PEER_ORIGIN, however it is sent (fetch, node:http, undici). The conformance suite has no
// option for a key, and must not be changed.
import http from 'node:http';
import { createRequire, syncBuiltinESMExports } from 'node:module';

const origin = process.env.PEER_ORIGIN;
const value = `Bearer ${process.env.PEER_BEARER}`;
if (!origin || !process.env.PEER_BEARER) {
  throw new Error('preload_bearer.mjs wants PEER_ORIGIN and PEER_BEARER');
}
const ours = (url) => new URL(url).origin === origin;

const plainFetch = globalThis.fetch;
globalThis.fetch = (input, init = {}) => {
  const url = input instanceof Request ? input.url : String(input);
  if (!ours(url)) return plainFetch(input, init);
  const headers = new Headers(init.headers ?? (input instanceof Request ? input.headers : undefined));
  headers.set('authorization', value);
  return plainFetch(input, { ...init, headers });
};

const originOf = ({ protocol = 'http:', host, hostname, port }) =>
  `${protocol}//${hostname ?? host}${port ? `:${port}` : ''}`;
for (const name of ['request', 'get']) {
  const plain = http[name];
  http[name] = (first, ...rest) => {
    const byUrl = typeof first === 'string' || first instanceof URL;
    const options = byUrl ? (typeof rest[0] === 'object' ? rest[0] : undefined) : first;
    const target = byUrl ? new URL(first).origin : originOf(first);
    if (target !== origin) return plain(first, ...rest);
    const keyed = { ...options, headers: { ...options?.headers, authorization: value } };
    if (!byUrl) return plain(keyed, ...rest);
    return plain(first, keyed, ...(options ? rest.slice(1) : rest));
  };
}
syncBuiltinESMExports();

try {
  const undici = createRequire(process.argv[1])('undici');
  const plain = undici.request;
  undici.request = (url, options = {}, ...rest) =>
    ours(url)
      ? plain(url, { ...options, headers: { ...options.headers, authorization: value } }, ...rest)
      : plain(url, options, ...rest);
} catch (error) {
  if (error.code !== 'MODULE_NOT_FOUND') throw error;
}
