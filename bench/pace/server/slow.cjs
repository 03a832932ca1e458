// An upstream whose every answer takes SERVICE_MS, however many are asked for at once.
const http = require("node:http");
const body = require("node:fs").readFileSync(process.env.ANSWER);
const headers = { "content-type": "application/json", "content-length": body.length };
const server = http.createServer((_, response) =>
  setTimeout(() => response.writeHead(200, headers).end(body), Number(process.env.SERVICE_MS)));
server.keepAliveTimeout = 600_000;
server.listen(process.env.SOCKET);
