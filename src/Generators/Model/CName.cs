namespace Blkring.Generators.Model;

/// <summary>The rules for names in C.</summary>
internal static class CName
{
    // C17 keywords (N2176, 6.4.1).
    private static readonly HashSet<string> Keywords = new(StringComparer.Ordinal)
    {
        "auto",
        "break",
        "case",
        "char",
        "const",
        "continue",
        "default",
        "do",
        "double",
        "else",
        "enum",
        "extern",
        "float",
        "for",
        "goto",
        "if",
        "inline",
        "int",
        "long",
        "register",
        "restrict",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "struct",
        "switch",
        "typedef",
        "union",
        "unsigned",
        "void",
        "volatile",
        "while",
    };

    public static bool IsIdentifier(string name) =>
        name.Length > 0 && !IsDigit(name[0]) && name.All(IsNameCharacter) && !Keywords.Contains(name);

    public static bool IsDigit(char c) => c is >= '0' and <= '9';

    private static bool IsNameCharacter(char c) => c is '_' or (>= 'a' and <= 'z') or (>= 'A' and <= 'Z') || IsDigit(c);
}
