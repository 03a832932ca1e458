// Express middleware: one line per answer on stdout: seconds, path, status, service time.
const { performance } = require("node:perf_hooks");
module.exports = (request, response, next) => {
  const started = performance.now();
  const path = request.originalUrl;
  let written = false;
  const write = (status) => {
    if (written) return;
    written = true;
    const service = (performance.now() - started) / 1000;
    process.stdout.write(`${(Date.now() / 1000).toFixed(3)}\t${path}\t${status}\t${service.toFixed(4)}\n`);
  };
  response.on("finish", () => write(response.statusCode));
  response.on("close", () => write(499));
  next();
};
