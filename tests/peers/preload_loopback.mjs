// Preloaded with `node --import`: a server that would listen on every interface listens on
// 127.0.0.1 only.
import net from 'node:net';

const plain = net.Server.prototype.listen;
net.Server.prototype.listen = function (first, ...rest) {
  const callback = rest.find((one) => typeof one === 'function');
  const port = typeof first === 'object' && first !== null ? first.port : first;
  if (port === undefined || Number.isNaN(Number(port))) return plain.call(this, first, ...rest);
  return plain.call(this, { port: Number(port), host: '127.0.0.1' }, ...(callback ? [callback] : []));
};
