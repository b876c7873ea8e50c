const http = require("http");
const ms = require("ms");

http
  .createServer((request, response) => {
    const isHello = request.url === "/hello";
    response.writeHead(isHello ? 200 : 404, { "Content-Type": "application/json" });
    response.end(JSON.stringify(isHello ? { node: "hello ada", twoDays: ms("2 days") } : {}));
  })
  .listen(Number(process.env.PORT));
