// JSON-RPC without a client, for what no client has a name for.

export async function post(url, body) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  return response.json()
}

/** The result of one request; throws the error that the node answers with, with its code and data. */
export async function rpc(url, method, ...params) {
  const { result, error } = await post(url, { jsonrpc: '2.0', id: 1, method, params })
  if (error) throw Object.assign(new Error(`${method}: ${error.message}`), { code: error.code, data: error.data })
  return result
}
