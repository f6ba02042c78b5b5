// node-oidc-provider as a peer: the same clients, algorithms, scopes and lifetimes as ours, everything in memory.
//   node oidc_provider.mjs PORT KEYS.json jwt|opaque SECRET
import fs from 'node:fs';
import crypto from 'node:crypto';
import Provider from 'oidc-provider';

const [, , port, keysFile, format, secret] = process.argv;
const keys = JSON.parse(fs.readFileSync(keysFile));
const own = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
const audience = 'http://127.0.0.1/fhir';
const scope = 'system/Patient.rs system/Observation.rs';
const common = {
  grant_types: ['client_credentials'], response_types: [], redirect_uris: [], id_token_signed_response_alg: 'ES256',
};

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    ...keys.map((jwk) => ({
      ...common,
      client_id: `bench-${jwk.alg.toLowerCase()}`,
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: jwk.alg,
      jwks: { keys: [jwk] },
    })),
    { ...common, client_id: 'resource-server', client_secret: secret, token_endpoint_auth_method: 'client_secret_basic' },
  ],
  scopes: scope.split(' '),
  clientAuthMethods: ['private_key_jwt', 'client_secret_basic'],
  enabledJWA: { clientAuthSigningAlgValues: ['RS384', 'ES384', 'ES256', 'RS256'] },
  features: {
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audience,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope, audience, accessTokenTTL: 300, accessTokenFormat: format, jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
  jwks: { keys: [{ ...own, kid: 'own', alg: 'ES256', use: 'sig' }] },
});
provider.listen(Number(port), '127.0.0.1');
