/* Everything that C lays out in ways of its own, and no header of Xen's has all of. */
#ifndef AWKWARD_H
#define AWKWARD_H

#include <xen/io/ring.h>

#define AWKWARD_OP_MARK 5

typedef uint64_t uint64_aligned_t __attribute__((aligned(8)));

enum awkward_mode { AWKWARD_FAST, AWKWARD_SLOW = 2 };

/* Names that are keywords of C#. */
struct awkward_keywords {
    uint8_t namespace;
    uint16_t event;
    uint32_t in, out;
};

/* Bit fields that share bytes with each other and with what follows. */
struct awkward_bits {
    uint8_t kind;
    uint32_t low : 3;           /* counts from 0 */
    uint32_t high : 9;
    int16_t delta : 5;
    uint8_t flag : 1;
    uint32_t : 0;
    enum awkward_mode mode : 2;
    uint64_t wide : 40;
    uint32_t : 7;
    uint64_t more : 33;
    int64_t whole : 64;
    uint8_t last;
};

/* In a packed struct they reach over their integers. */
struct awkward_packed_bits {
    uint32_t first : 20;
    int32_t second : 20;
    uint64_t third : 61;
    uint8_t last;
} __attribute__((packed));

#pragma pack(push, 2)
struct awkward_pack_2 {
    uint8_t kind;
    uint64_t id;
    uint32_t low : 20, high : 20;
};
#pragma pack(pop)

union awkward_bit_union {
    uint16_t low : 5;
    uint8_t bytes[3];
};

struct awkward_aligned {
    uint8_t kind;
    uint32_t line __attribute__((aligned(16)));
    uint64_aligned_t id;
    uint16_t last;
};

struct awkward_aligned_alone {
    uint64_aligned_t id;
    uint32_t last;
};

struct awkward_aligned_whole {
    uint8_t kind;
    uint16_t value;
} __attribute__((aligned(32)));

struct awkward_packed_aligned {
    uint8_t kind;
    uint32_t value __attribute__((aligned(4)));
    uint16_t next;
    uint64_t last;
} __attribute__((packed));

struct awkward_one_packed {
    uint16_t kind;
    uint8_t sub;
    uint64_t value __attribute__((packed));
    uint32_t last;
};

struct awkward_nested {
    uint8_t kind;
    struct awkward_aligned_whole inner[2];
    struct awkward_bits bits;
    union awkward_bit_union either;
};

/* Parts without names. */
struct awkward_unnamed {
    uint8_t kind;
    union {
        uint16_t word;
        struct {
            uint8_t low : 4, high : 4;
            uint8_t second;
        };
    };
    struct {
        uint32_t inner;
    };
    uint8_t last;
};

struct awkward_flexible {
    uint16_t count;
    uint64_t refs[];
};

/* What is as wide as a machine's registers. */
struct awkward_words {
    struct awkward_words *next;
    uint8_t kind;
    unsigned long word;
    void *pages[3];
};

struct awkward_request {
    uint8_t operation;
    uint8_t urgent : 1, level : 3;
    uint64_t id;
    int32_t shift : 11;
    uint32_t length : 13;
    struct awkward_packed_bits detail;
};

struct awkward_mark {
    uint8_t operation;
    uint8_t urgent : 1;
    uint64_t id;
};

struct awkward_response {
    uint64_t id;
    int8_t status : 7;
};

DEFINE_RING_TYPES(awkward, struct awkward_request, struct awkward_response);

#endif
