/* string.c - inside a JSON string, byte by byte: UTF-8 as RFC 3629 has it, escapes as RFC 8259, but
 * for \u0000 and surrogates (a character beyond U+FFFF stands as itself). See grammar_internal.h.
 */
#include <string.h>

#include "grammar_internal.h"

/* C: continuation bytes that are missing; E0, ED, F0, F4: behind that byte. U: digits of \u that
 * are missing; D: behind d; Z: behind zeros only. */
enum {
    ESCAPE = STRING_OPEN + 1,
    OPEN_ESCAPE,
    C1,
    C2,
    C3,
    E0,
    ED,
    F0,
    F4,
    U4,
    U3,
    U3_D,
    U3_Z,
    U2,
    U2_Z,
    U1,
    U1_Z
};

/* A character or escape begins that takes n bytes in all. */
static string_step begin(int32_t *at, int64_t *value, int64_t most, int n, int32_t then) {
    if (*value + n > most) return STRING_NO;
    *value += n;
    *at = then;
    return STRING_ON;
}

static string_step take_first(int32_t *at, int64_t *value, int64_t most, unsigned char b) {
    const bool open = *at == STRING_OPEN;
    if (b == '"') return open ? STRING_NO : STRING_CLOSED;
    if (b == '\\') return begin(at, value, most, 2, open ? OPEN_ESCAPE : ESCAPE);
    if (b < 0x20 || (open && b == ' ')) return STRING_NO;
    if (b < 0x80) return begin(at, value, most, 1, STRING_TEXT);
    if (b < 0xC2 || b > 0xF4) return STRING_NO;
    if (b < 0xE0) return begin(at, value, most, 2, C1);
    if (b < 0xF0) return begin(at, value, most, 3, b == 0xE0 ? E0 : b == 0xED ? ED : C2);
    return begin(at, value, most, 4, b == 0xF0 ? F0 : b == 0xF4 ? F4 : C3);
}

static string_step between(int32_t *at, unsigned char b, int low, int high, int32_t then) {
    if (b < low || b > high) return STRING_NO;
    *at = then;
    return STRING_ON;
}

static bool is_hex(unsigned char b) {
    return (b >= '0' && b <= '9') || (b >= 'a' && b <= 'f') || (b >= 'A' && b <= 'F');
}

static string_step take_digit(int32_t *at, unsigned char b) {
    const int32_t was = *at;
    if (!is_hex(b)) return STRING_NO;
    if (was == U3_D && (b < '0' || b > '7')) return STRING_NO;
    if (was == U1_Z && b == '0') return STRING_NO;
    if (was == U4)
        *at = b == '0' ? U3_Z : b == 'd' || b == 'D' ? U3_D : U3;
    else if (was == U3 || was == U3_D || was == U3_Z)
        *at = was == U3_Z && b == '0' ? U2_Z : U2;
    else if (was == U2 || was == U2_Z)
        *at = was == U2_Z && b == '0' ? U1_Z : U1;
    else
        *at = STRING_TEXT;
    return STRING_ON;
}

string_step string_take(int32_t *at, int64_t *value, int64_t most, unsigned char b) {
    switch (*at) {
    case STRING_TEXT:
    case STRING_OPEN:
        return take_first(at, value, most, b);
    case ESCAPE:
        if (b == 'u') return begin(at, value, most, 4, U4);
        *at = STRING_TEXT;
        return b && strchr("\"\\/bfnrt", b) ? STRING_ON : STRING_NO;
    case OPEN_ESCAPE:
        *at = STRING_TEXT;
        return b && strchr("\"\\/", b) ? STRING_ON : STRING_NO;
    case C1:
        return between(at, b, 0x80, 0xBF, STRING_TEXT);
    case C2:
        return between(at, b, 0x80, 0xBF, C1);
    case C3:
        return between(at, b, 0x80, 0xBF, C2);
    case E0:
        return between(at, b, 0xA0, 0xBF, C1);
    case ED:
        return between(at, b, 0x80, 0x9F, C1);
    case F0:
        return between(at, b, 0x90, 0xBF, C2);
    case F4:
        return between(at, b, 0x80, 0x8F, C2);
    default:
        return take_digit(at, b);
    }
}

void string_complete(int32_t at, px_str *out) {
    static const char *const rest[] = {
        [STRING_TEXT] = "",    [STRING_OPEN] = ".",   [ESCAPE] = "\"",
        [OPEN_ESCAPE] = "\"",  [C1] = "\x80",         [C2] = "\x80\x80",
        [C3] = "\x80\x80\x80", [E0] = "\xA0\x80",     [ED] = "\x80\x80",
        [F0] = "\x90\x80\x80", [F4] = "\x80\x80\x80", [U4] = "0001",
        [U3] = "000",          [U3_D] = "000",        [U3_Z] = "001",
        [U2] = "00",           [U2_Z] = "01",         [U1] = "0",
        [U1_Z] = "1"};
    px_str_text(out, rest[at]);
    px_str_char(out, '"');
}
