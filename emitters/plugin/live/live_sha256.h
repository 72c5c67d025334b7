/* SHA-256 (FIPS 180-4). */
#ifndef LIVE_SHA256_H
#define LIVE_SHA256_H

#include <stddef.h>
#include <stdint.h>

void live_sha256(const unsigned char *bytes, size_t size, unsigned char digest[32]);

/* The checksum of zlib and PNG (ISO 3309). */
uint32_t live_crc32(const unsigned char *bytes, size_t size);

#endif
