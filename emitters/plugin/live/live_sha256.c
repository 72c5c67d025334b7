/* SHA-256, as FIPS 180-4 writes it, and CRC-32. */
#include "live_sha256.h"

#include <string.h>

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

#define ROTATED(x, n) ((x) >> (n) | (x) << (32 - (n)))

static void mix(uint32_t h[8], const unsigned char block[64])
{
    uint32_t w[64], v[8], a, b;
    int t;
    for (t = 0; t < 16; t++)
        w[t] = (uint32_t)block[4 * t] << 24 | (uint32_t)block[4 * t + 1] << 16 |
               (uint32_t)block[4 * t + 2] << 8 | block[4 * t + 3];
    for (; t < 64; t++)
        w[t] = (ROTATED(w[t - 2], 17) ^ ROTATED(w[t - 2], 19) ^ w[t - 2] >> 10) + w[t - 7] +
               (ROTATED(w[t - 15], 7) ^ ROTATED(w[t - 15], 18) ^ w[t - 15] >> 3) + w[t - 16];
    memcpy(v, h, sizeof v);
    for (t = 0; t < 64; t++) {
        a = v[7] + (ROTATED(v[4], 6) ^ ROTATED(v[4], 11) ^ ROTATED(v[4], 25)) +
            ((v[4] & v[5]) ^ (~v[4] & v[6])) + K[t] + w[t];
        b = (ROTATED(v[0], 2) ^ ROTATED(v[0], 13) ^ ROTATED(v[0], 22)) +
            ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += a;
        v[0] = a + b;
    }
    for (t = 0; t < 8; t++)
        h[t] += v[t];
}

void live_sha256(const unsigned char *bytes, size_t size, unsigned char digest[32])
{
    uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                     0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    unsigned char last[128] = {0};
    size_t left = size, k, end;
    for (; left >= 64; left -= 64, bytes += 64)
        mix(h, bytes);
    if (left > 0)
        memcpy(last, bytes, left);
    last[left] = 0x80;
    end = left < 56 ? 64 : 128;
    for (k = 0; k < 8; k++)
        last[end - 1 - k] = (unsigned char)((uint64_t)size * 8 >> 8 * k);
    for (k = 0; k < end; k += 64)
        mix(h, last + k);
    for (k = 0; k < 32; k++)
        digest[k] = (unsigned char)(h[k / 4] >> (24 - 8 * (k % 4)));
}

uint32_t live_crc32(const unsigned char *bytes, size_t size)
{
    uint32_t found = 0xffffffffu;
    size_t k;
    int bit;
    for (k = 0; k < size; k++) {
        found ^= bytes[k];
        for (bit = 0; bit < 8; bit++)
            found = found >> 1 ^ (0xedb88320u & (0u - (found & 1u)));
    }
    return ~found;
}
